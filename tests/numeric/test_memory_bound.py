"""The bound on a step's memory is never below what a simulation of that very step finds."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.plan.bound import step_bound
from tests.tiny_steps import CONTEXT, TinyStep, tiny_config

MODELS = ("gpt2", "llama", "gemma2", "bert", "modernbert", "t5")


def bound_of(step: TinyStep, parameters: int) -> int | None:
    """The bound on one step."""
    config = tiny_config(step.model)
    tokens = max(batch.input_ids.numel() for batch in step.batches)
    outputs = 2 if step.model in ("bert", "modernbert") else config.vocab_size
    return step_bound(config, parameters, outputs, tokens, CONTEXT, sequences=1)


@pytest.mark.parametrize(
    ("model", "method"),
    [
        *((model, "full") for model in MODELS),
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


def test_where_the_formula_does_not_hold_there_is_none() -> None:
    plain = tiny_config("llama")
    assert step_bound(plain, 1000, 640, 96, CONTEXT) is not None
    for name, value in {"num_local_experts": 8, "vision_config": {}, "num_attention_heads": None}.items():
        config: Any = tiny_config("llama")
        setattr(config, name, value)
        assert step_bound(config, 1000, 640, 96, CONTEXT) is None, name
