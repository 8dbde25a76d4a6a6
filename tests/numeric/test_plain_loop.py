"""The engine's loop against a plain one: the same loss and the same gradient norm, for 20 steps."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from burnish.data.batching.batches import BatchPlan
from burnish.recipe.schema import Recipe, TrainSection
from tests.numeric.plain_loop import PlainSettings, plain_loop
from tests.tiny_data import random_examples
from tests.tiny_models import CONTEXT, make_network
from tests.tiny_training import run_loop, token_plan, with_method

STEPS = 20
LOSS_TOLERANCE = 1e-5
NORM_TOLERANCE = 5e-5
_RUNS = [
    ("llama", "full"),
    ("llama", "lora"),
    ("gpt2", "full"),
    ("gpt2", "lora"),
    ("mistral", "lora"),
    ("phi3", "full"),
]
_ALIKE = _RUNS[2], _RUNS[4]
"""What they add to the others is left to the long run."""


@pytest.mark.parametrize(
    ("layout", "method", "packing"),
    [
        # each run once, packed and padded in turn
        pytest.param(*run, packing, id=f"{'-'.join(run)}-{'packed' if packing else 'padded'}", marks=marks)
        for number, run in enumerate(_RUNS)
        for packing in (True, False)
        for marks in [() if packing == bool(number % 2) and run not in _ALIKE else pytest.mark.slow]
    ],
)
def test_the_loop_does_what_a_plain_loop_does(
    layout: str, method: str, packing: bool, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    examples = random_examples(30, 4, 40, seed=7)
    plan = token_plan(examples, context=CONTEXT, packing=packing, step_tokens=150, micro_rows=2, seed=9)
    rate = 2e-2 if method == "lora" else 2e-3
    train = TrainSection(max_steps=STEPS, learning_rate=rate, warmup=0.2, weight_decay=0.1, clip=0.5, betas=(0.9, 0.98))
    network = with_method(make_network(layout), method)
    twin = copy.deepcopy(network)
    result = run_loop(network, tiny_tokenizer, plan, Recipe(train=train), tmp_path)

    settings = PlainSettings(rate, warmup_steps=4, total_steps=STEPS, beta1=0.9, beta2=0.98, weight_decay=0.1, clip=0.5)
    expected = plain_loop(twin, read_in_order(plan), settings)
    assert len(result) == len(expected) == STEPS > 2 * plan.steps_per_epoch
    for ours, plain in zip(result, expected, strict=True):
        assert ours.learning_rate == pytest.approx(plain.learning_rate, rel=1e-12)
        assert ours.loss == pytest.approx(plain.loss, rel=LOSS_TOLERANCE)
        assert ours.gradient_norm == pytest.approx(plain.gradient_norm, rel=NORM_TOLERANCE)
    assert expected[-1].loss < 0.85 * expected[0].loss, "a run that learns nothing compares nothing"
    assert max(step.gradient_norm for step in expected) > 0.5, "the gradient was never clipped"


def read_in_order(plan: BatchPlan) -> list[list[tuple[list[int], list[int]]]]:
    """Ids and labels of the examples of each step."""
    steps = []
    for step in range(STEPS):
        chosen = [index for batch in plan.step_batches(step) for index in batch.examples]
        steps.append([(plan.examples[index].input_ids, plan.examples[index].labels) for index in chosen])
    return steps
