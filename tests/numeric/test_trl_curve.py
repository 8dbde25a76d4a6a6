"""The loss curve of TRL's `SFTTrainer` on the same examples in the same order, for 20 steps."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from burnish.data.rows.row import Example
from burnish.recipe.schema import Recipe, TrainSection
from tests.tiny_data import random_examples
from tests.tiny_models import CONTEXT, make_network
from tests.tiny_training import run_loop, token_plan, with_method

STEPS = 20
LOSS_TOLERANCE = 1e-5
NORM_TOLERANCE = 1e-4
PER_STEP = 8
"""Examples in a step. TRL reads them as two micro-batches of four, Burnish as four rows of two or eight of one."""


@pytest.mark.parametrize(
    ("layout", "method", "schedule", "packing"),
    [
        ("llama", "full", "linear", False),
        ("llama", "lora", "constant", True),
        ("gpt2", "lora", "cosine", True),
        pytest.param("llama", "full", "linear", True, marks=pytest.mark.slow),
        pytest.param("llama", "lora", "constant", False, marks=pytest.mark.slow),
        pytest.param("gpt2", "lora", "cosine", False, marks=pytest.mark.slow),
    ],
)
def test_the_curve_is_trls(
    layout: str, method: str, schedule: str, packing: bool, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    # Longer than a third of the context and at most half of it: packed rows then always hold two.
    examples = random_examples(48, CONTEXT // 3 + 1, CONTEXT // 2, seed=13)
    mean_row = sum(len(example.input_ids) for example in examples) / len(examples) * (2 if packing else 1)
    rows_per_step = PER_STEP // 2 if packing else PER_STEP
    plan = token_plan(
        examples,
        context=CONTEXT,
        packing=packing,
        step_tokens=round(rows_per_step * mean_row),
        micro_rows=rows_per_step // 2,
        pad_id=tiny_tokenizer.pad_token_id,
        seed=17,
    )
    steps = [[index for batch in plan.step_batches(step) for index in batch.examples] for step in range(STEPS)]
    assert {len(chosen) for chosen in steps} == {PER_STEP}

    network = with_method(make_network(layout), method)
    twin = copy.deepcopy(network)
    rate = 2e-2 if method == "lora" else 2e-3
    train = TrainSection(max_steps=STEPS, learning_rate=rate, schedule=schedule, warmup=0, weight_decay=0.1, clip=0.5)
    result = run_loop(network, tiny_tokenizer, plan, Recipe(train=train), tmp_path / "burnish")
    expected = trl_curve(
        twin, tiny_tokenizer, [examples[index] for chosen in steps for index in chosen], train, tmp_path
    )

    assert len(result) == len(expected) == STEPS
    for ours, theirs in zip(result, expected, strict=True):
        assert ours.learning_rate == pytest.approx(theirs["learning_rate"], rel=1e-9)
        assert ours.loss == pytest.approx(theirs["loss"], rel=LOSS_TOLERANCE)
        assert ours.gradient_norm == pytest.approx(theirs["grad_norm"], rel=NORM_TOLERANCE)
    assert result[-1].loss < 0.95 * result[0].loss, "a run that learns nothing compares nothing"


def trl_curve(
    network: Any, tokenizer: Any, examples: list[Example], train: TrainSection, folder: Path
) -> list[dict[str, float]]:
    """What TRL logs of each step, reading the examples as they come."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [{"input_ids": example.input_ids, "labels": example.labels} for example in examples]
    options = SFTConfig(
        output_dir=str(folder / "trl"),
        max_steps=STEPS,
        per_device_train_batch_size=PER_STEP // 2,
        gradient_accumulation_steps=2,
        train_sampling_strategy="sequential",
        max_length=None,
        packing=False,
        learning_rate=float(train.learning_rate),
        lr_scheduler_type=train.schedule,
        weight_decay=train.weight_decay,
        max_grad_norm=train.clip,
        adam_beta1=train.betas[0],
        adam_beta2=train.betas[1],
        optim="adamw_torch",
        gradient_checkpointing=False,
        use_cpu=True,
        bf16=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = SFTTrainer(network, args=options, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    trainer.train()
    return [line for line in trainer.state.log_history if "grad_norm" in line]
