"""What is known of a task before there is a tokenizer agrees with what its parts say later."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.data.rows.shapes import PATTERNS
from burnish.recipe.schema import Recipe, SpanSection
from burnish.tasks import task_facts, task_names, task_names_for
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
