"""Lists with a mark for each message beside a conversation: what they leave out is not learned."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.data.rows.row import Row, RowError
from burnish.data.rows.shapes import Shape, detect_shape
from burnish.errors import DataError

TURNS = [
    {"role": "user", "content": "a?"},
    {"role": "assistant", "content": "b"},
    {"role": "user", "content": "c?"},
    {"role": "assistant", "content": "d"},
]


def shape_of(**values: Any) -> tuple[Shape, Row]:
    row = Row(values, "f.jsonl", 1)
    return detect_shape([row, Row(values, "f.jsonl", 2)], {}), row


def learned(record: Any) -> list[str]:
    return [one["content"] for one in record.messages if one["role"] == "assistant" and one.get("weight") != 0]


@pytest.mark.parametrize("name", ["loss_mask", "weights", "train", "loss"])
@pytest.mark.parametrize("marks", [[0, 0, 0, 1], [False, False, False, True], ["0", "0", "0", "1"], "[0, 0, 0, 1]"])
def test_marks_say_which_answers_are_learned(name: str, marks: Any) -> None:
    shape, row = shape_of(messages=TURNS, **{name: marks})
    assert learned(shape.to_record(row)) == ["d"]
    assert not shape.ignored
    assert shape.notes == (f"`{name}` says which answers are learned: 2 are, and 2 are not.",)


def test_marks_are_read_beside_other_forms_of_conversations() -> None:
    for turns in (
        [{"from": "human", "value": "a?"}, {"from": "gpt", "value": "b"}, {"from": "human", "value": "c?"},
         {"from": "gpt", "value": "d"}],
        ["a?", "b", "c?", "d"],
        [{"user": "a?", "assistant": "b"}, {"user": "c?", "assistant": "d"}],
    ):  # fmt: skip
        shape, row = shape_of(conversations=turns, loss_mask=[0, 0, 0, 1])
        assert learned(shape.to_record(row)) == ["d"]


def test_a_row_whose_marks_do_not_fit_is_left_out_with_the_reason() -> None:
    shape, _ = shape_of(messages=TURNS, loss_mask=[0, 0, 0, 1])
    with pytest.raises(RowError, match="has 2 marks for 4 messages"):
        shape.to_record(Row({"messages": TURNS, "loss_mask": [0, 1]}, "f.jsonl", 1))
    with pytest.raises(RowError, match="weight 0.5"):
        shape.to_record(Row({"messages": TURNS, "loss_mask": [0, 0, 0, 0.5]}, "f.jsonl", 1))
    with pytest.raises(RowError, match="no answer is learned"):
        shape.to_record(Row({"messages": TURNS, "loss_mask": [1, 0, 1, 0]}, "f.jsonl", 1))


def test_what_a_message_says_of_itself_is_kept() -> None:
    turns = [TURNS[0], {**TURNS[1], "weight": 0}, *TURNS[2:]]
    shape, row = shape_of(messages=turns, loss_mask=[1, 1, 1, 1])
    assert learned(shape.to_record(row)) == ["d"]


def test_marks_of_questions_are_named() -> None:
    shape, _ = shape_of(messages=TURNS, loss_mask=[1, 0, 1, 1])
    assert "also marks 4 other messages; only answers are learned" in shape.notes[0]


@pytest.mark.parametrize("name", ["mask", "ignored", "masks"])
def test_marks_that_may_mean_either_are_asked_about(name: str) -> None:
    with pytest.raises(DataError, match="not which of its values does") as caught:
        shape_of(messages=TURNS, **{name: [0, 0, 0, 1]})
    assert "`loss_mask`" in caught.value.fix
    row = Row({"messages": TURNS, name: [0, 0, 0, 1]}, "f.jsonl", 1)
    assert detect_shape([row], {}, "messages").ignored == (name,)


def test_lists_of_something_else_are_only_named() -> None:
    shape, _ = shape_of(messages=TURNS, weights_of=["a", "b"], training_ids=[7, 8])
    assert shape.ignored == ("training_ids", "weights_of")
