"""What a question is about, what was said before, and what can be chosen is not left out of a prompt."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.data.rows.records import ChatRecord, SpanRecord
from burnish.data.rows.row import Row, RowError
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError


def read(**values: Any) -> Any:
    row = Row(values, "f.jsonl", 1)
    return detect_shape([row], {}).to_record(row)


@pytest.mark.parametrize("name", ["context", "passage"])
def test_the_text_beside_a_question_is_a_part_of_it(name: str) -> None:
    row = Row({name: "Ann wrote it.", "question": "Who wrote it?", "answer": "Ann"}, "f.jsonl", 1)
    shape = detect_shape([row], {})
    record = shape.to_record(row)
    assert isinstance(record, ChatRecord)
    assert record.messages[0]["content"] == "Who wrote it?\n\nAnn wrote it."
    assert shape.notes == (f"`{name}` is read as a part of each question, below it.",)
    assert not shape.ignored


def test_an_answer_with_its_place_is_a_span() -> None:
    record = read(context="Ann wrote it.", question="Who?", answer={"text": "Ann", "answer_start": 0})
    assert isinstance(record, SpanRecord)
    assert record.answers == ((0, "Ann"),)


def test_earlier_turns_come_before_the_question() -> None:
    record = read(instruction="And now?", input="", output="Dark.", history=[["Was it light?", "Yes."]])
    assert [message["content"] for message in record.messages] == ["Was it light?", "Yes.", "And now?", "Dark."]
    assert [message["role"] for message in record.messages] == ["user", "assistant"] * 2
    with pytest.raises(RowError, match="`history` is not a list"):
        read(instruction="And now?", output="Dark.", history=["Was it light?"])


@pytest.mark.parametrize(
    "choices",
    [
        {"choices": ["red", "blue"]},
        {"options": "['red', 'blue']"},
        {"choices": {"text": ["red", "blue"], "label": ["A", "B"]}},
        {"A": "red", "B": "blue", "C": "green"},
        {"option_a": "red", "option_b": "blue", "option_c": "green"},
    ],
)
def test_answers_to_choose_from_are_asked_about(choices: dict[str, Any]) -> None:
    row = Row({"question": "Which colour?", **choices, "answer": "A"}, "f.jsonl", 1)
    with pytest.raises(DataError, match="the answers to choose from"):
        detect_shape([row], {})
    assert detect_shape([row], {}, "question-answer").name == "question-answer"


@pytest.mark.parametrize("other", [{"a": 1, "b": 2}, {"options": "fast"}, {"choices": ["only"]}])
def test_other_columns_are_only_named(other: dict[str, Any]) -> None:
    row = Row({"question": "Which colour?", "answer": "Red.", **other}, "f.jsonl", 1)
    assert detect_shape([row], {}).ignored == tuple(sorted(other))
