"""Conversations as lists of texts, which user and assistant say in turn."""

from __future__ import annotations

import pytest

from burnish.data.chat.messages import are_turns, as_messages
from burnish.data.rows.row import Row
from burnish.data.rows.shapes import detect_shape
from burnish.data.rows.unanswered import UnansweredRows
from burnish.errors import DataError

TALK = ["Hi.", "Hello.", "How are you?", "Fine."]
MESSAGES = [{"role": ("user", "assistant")[number % 2], "content": text} for number, text in enumerate(TALK)]


def rows(*cells: dict) -> list[Row]:
    return [Row(values, "a.jsonl", line) for line, values in enumerate(cells, start=1)]


@pytest.mark.parametrize("value", [TALK, [TALK[:2], TALK[2:]]])
def test_texts_and_pairs_of_texts_are_said_in_turn(value):
    assert are_turns(value)
    assert as_messages(value) == MESSAGES


def test_roles_before_all_texts_are_theirs_and_left_out():
    said = ["Assistant: Hi.", "User: Help: now", "Bot: Yes."]
    assert [(one["role"], one["content"]) for one in as_messages(said)] == [
        ("Assistant", "Hi."),
        ("User", "Help: now"),
        ("Bot", "Yes."),
    ]
    assert as_messages(["User: Hi.", "Hello."])[0]["content"] == "User: Hi."


@pytest.mark.parametrize(
    "value", [["Hi."], [], "Hi.", ["Hi.", 3], [{"role": "user", "content": "Hi."}], [["a"], ["b"]]]
)
def test_other_values_stay_as_they_are(value):
    assert not are_turns(value)


@pytest.mark.parametrize("name", ["dialog", "utterances", "turns", "conversations", "messages", "Dialog"])
def test_each_name_of_such_a_column(name):
    shape = detect_shape(rows({name: TALK}, {name: TALK[:3]}), {"messages": name} if name == "Dialog" else {})
    assert shape.name == "turns"
    first, second = (shape.to_record(row) for row in rows({name: TALK}, {name: TALK[:3]}))
    assert (list(first.messages), list(second.messages)) == (MESSAGES, MESSAGES[:2])
    assert any("in turn" in note for note in shape.notes)


@pytest.mark.parametrize("beside", [{"question_id": 1}, {"response": "Well."}, {"summary": "They meet."}])
def test_turns_beside_what_is_to_be_written_or_of_a_benchmark_are_no_conversation(beside):
    with pytest.raises(DataError):
        detect_shape(rows({"turns": TALK, **beside}), {})


@pytest.mark.parametrize("asked", [TALK[:3], TALK])
def test_the_next_turn_is_asked_for_and_an_answer_at_the_end_not_used(asked):
    record = UnansweredRows.like("turns", {}, {}).to_record(Row({"dialog": asked}, "a.jsonl", 1))
    assert list(record.messages[:-1]) == MESSAGES[:3]
    assert record.messages[-1] == {"role": "assistant", "content": "?"}
