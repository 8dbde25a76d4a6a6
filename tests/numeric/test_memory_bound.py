"""The bound on a step's memory is never below what a simulation of that very step finds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from burnish.plan.bound import step_bound
from tests.tiny_steps import CONTEXT, TinyStep, tiny_config

MODELS = ("gpt2", "llama", "gemma2", "bert", "modernbert", "t5")
ALIKE = ("gemma2", "modernbert", "t5")
"""What they add to the others is left to the long run."""


def bound_of(step: TinyStep, parameters: int) -> int | None:
    """The bound on one step."""
    config = tiny_config(step.model)
    tokens = max(batch.input_ids.numel() for batch in step.batches)
    outputs = 2 if step.model in ("bert", "modernbert") else config.vocab_size
    return step_bound(config, parameters, outputs, tokens, CONTEXT, sequences=1)


@pytest.mark.parametrize(
    ("model", "method"),
    [
        *(pytest.param(model, "full", marks=pytest.mark.slow if model in ALIKE else ()) for model in MODELS),
        ("gpt2", "lora"),
        ("llama", "qlora"),
        ("gpt2", "prompt"),
        ("bert", "lora"),
    ],
)
def test_no_step_takes_more(model: str, method: str) -> None:
    step = TinyStep(model, method)
    simulated = step.simulated(tiny_config(model))
    bound = bound_of(step, simulated.weights // 4)
    assert bound is not None
    assert simulated.peak.total < bound


def config_of(**facts: Any) -> Any:
    """A config with the numbers that the formula reads, and others."""
    numbers = {
        "hidden_size": 64,
        "num_attention_heads": 4,
        "num_hidden_layers": 3,
        "is_encoder_decoder": False,
        **facts,
    }
    config = SimpleNamespace(**{name: value for name, value in numbers.items() if value is not None})
    config.get_text_config = lambda: config
    return config


def test_where_the_formula_does_not_hold_there_is_none() -> None:
    assert step_bound(config_of(), 1000, 640, 96, CONTEXT) is not None
    for facts in (
        {"num_local_experts": 8},
        {"vision_config": {}},
        {"num_attention_heads": None},
        {"hidden_size": None},
    ):
        assert step_bound(config_of(**facts), 1000, 640, 96, CONTEXT) is None, facts


def test_the_bound_grows_with_all_it_depends_on() -> None:
    plain = step_bound(config_of(), 1000, 640, 96, CONTEXT)
    assert plain is not None
    larger = [
        step_bound(config_of(), 2000, 640, 96, CONTEXT),
        step_bound(config_of(), 1000, 6400, 96, CONTEXT),
        step_bound(config_of(), 1000, 640, 192, CONTEXT),
        step_bound(config_of(), 1000, 640, 96, 2 * CONTEXT),
        *(
            step_bound(config_of(**{name: 128}), 1000, 640, 96, CONTEXT)
            for name in ("hidden_size", "num_hidden_layers")
        ),
        step_bound(config_of(intermediate_size=1000), 1000, 640, 96, CONTEXT),
        step_bound(config_of(is_encoder_decoder=True), 1000, 640, 96, CONTEXT),
    ]
    assert all(bound is not None and bound > plain for bound in larger)
