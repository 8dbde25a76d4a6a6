"""What is known of a task before there is a tokenizer agrees with what its parts say later."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from burnish.data.rows.patterns import PATTERNS
from burnish.recipe.schema import Recipe, SpanSection
from burnish.tasks import register_task, task_facts, task_names, task_names_for, task_sections, writes_text
from tests.tiny_architectures import make_encoder_tokenizer, make_text_to_text_tokenizer
from tests.tiny_classifiers import word_pieces
from tests.tiny_models import make_tokenizer

TOKENIZERS: dict[str, Any] = {
    "classify": word_pieces,
    "tag": word_pieces,
    "span": word_pieces,
    "fill-mask": make_encoder_tokenizer,
    "text-to-text": make_text_to_text_tokenizer,
}


@pytest.mark.parametrize("name", [name for name in task_names() if name != "vision"])
def test_the_head_is_loaded_by_the_class_that_is_named(name: str) -> None:
    facts = task_facts(name)
    task = facts.make(TOKENIZERS.get(name, make_tokenizer)(), Recipe(span=SpanSection(stride=8)))
    assert facts.auto_class == task.objective.head.auto_class
    assert (task.name, task.kinds) == (name, facts.kinds)


def test_every_shape_of_rows_has_a_task_and_every_task_a_shape() -> None:
    by_shape = {pattern.name: task_names_for(pattern.record) for pattern in PATTERNS}
    assert all(by_shape.values())
    assert {name for names in by_shape.values() for name in names} == set(task_names())
    assert by_shape["messages"] == by_shape["alpaca"] == ["chat", "text-to-text"], "the likelier one first"
    assert by_shape["preference"] == ["preference", "reward"]
    assert by_shape["rated"] == ["preference"]
    assert by_shape["text"] == ["text", "fill-mask"]


@dataclass(frozen=True)
class Kept:
    """What a task promises to the rest of the house."""

    flags: set[str]
    step_rows: int = 0
    rate_factor: float = 1.0
    headline: str = "loss"


FLAGS = ("generates", "reads_turns", "counts_tokens", "names_labels")
PROMISED = {
    "chat": Kept({"generates", "reads_turns", "counts_tokens", "can_pack", "compares_answers"}),
    "text": Kept({"generates", "counts_tokens", "can_pack", "compares_answers"}),
    "preference": Kept({"generates", "reads_turns"}, 16, 0.1, "reward accuracy"),
    "reward": Kept({"compares_answers"}, 16, 1.0, "accuracy"),
    "classify": Kept({"names_labels", "compares_answers"}, 32, 1.0, "accuracy"),
    "score": Kept({"compares_answers"}, 32, 1.0, "MAE"),
    "tag": Kept({"names_labels", "compares_answers"}, 8, 1.0, "entity F1"),
    "span": Kept({"compares_answers"}, 16, 1.0, "F1"),
    "fill-mask": Kept({"compares_answers"}),
    "text-to-text": Kept({"generates", "reads_turns", "counts_tokens", "compares_answers"}),
}


@pytest.mark.parametrize("name", PROMISED)
def test_what_each_task_promises(name: str) -> None:
    task = task_facts(name).make(TOKENIZERS.get(name, make_tokenizer)(), Recipe(span=SpanSection(stride=8)))
    flags = {flag for flag in FLAGS if getattr(task, flag)}
    flags |= {"can_pack"} if task.encoder.can_pack else set()
    flags |= {"compares_answers"} if task.scorer.compares_answers else set()
    assert Kept(flags, task.objective.step_rows, task.objective.rate_factor, task.scorer.headline) == PROMISED[name]


def test_the_rows_that_guides_recommend() -> None:
    assert {name: rows for name in task_names() if (rows := task_facts(name).usual_rows)} == {
        "classify": (500, 5_000),
        "score": (500, 5_000),
        "tag": (1_000, 5_000),
        "span": (1_000, 5_000),
        "text": (1_000, 10_000),
        "chat": (1_000, 50_000),
        "text-to-text": (1_000, 50_000),
    }


@pytest.mark.parametrize("generates", [True, False])
def test_a_task_from_outside_speaks_for_itself(generates: bool) -> None:
    facts = replace(task_facts("text"), name="outside", generates=generates, sections=("tag",))
    remove = register_task(facts)
    try:
        assert task_names()[-1] == "outside"
        assert task_facts("outside") is facts
        assert (writes_text("outside"), task_sections("outside")) == (generates, ("tag",))
        with pytest.raises(ValueError, match="already a task `outside`"):
            register_task(facts)
    finally:
        remove()
    assert "outside" not in task_names()
    assert not writes_text("outside")
