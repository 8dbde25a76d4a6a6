"""Worse answers beside better ones: read where the form is known, else asked about with a command that works."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest

from burnish.data.preference.worse import is_worse
from burnish.data.rows.records import ChatRecord, PreferenceRecord
from burnish.data.rows.row import Row, RowError
from burnish.data.rows.settled import Asked
from burnish.data.rows.shapes import detect_shape
from burnish.data.rows.unanswered import UnansweredRows
from burnish.errors import DataError
from tests.typed_commands import run_jq

USER = {"role": "user", "content": "Which colour?"}
GOOD = {"role": "assistant", "content": "Red, I think."}
BAD = {"role": "assistant", "content": "No idea."}
EARLIER = ({"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."})
PAIR = PreferenceRecord((USER,), (GOOD,), (BAD,), None, "f.jsonl:1")
TASKS = (PreferenceRecord,)


def rows_of(**values: Any) -> list[Row]:
    return [Row(values, "f.jsonl", line) for line in (1, 2, 3)]


def read(columns: dict[str, str] | None = None, asked: Asked | None = None, **values: Any) -> Any:
    rows = rows_of(**values)
    return detect_shape(rows, columns or {}, asked=asked).to_record(rows[0])


@pytest.mark.parametrize(
    "values",
    [
        {"messages": [USER, GOOD], "rejected_response": "No idea."},
        {"messages": [USER, GOOD], "rejected_response": BAD},
        {"messages": [USER, GOOD], "rejected": [BAD]},
        {"messages": [USER, GOOD], "rejected_messages": [USER, BAD]},
        {"messages": str([USER, GOOD]), "rejected_messages": str([USER, BAD])},
        {
            "conversations": [
                {"from": "human", "value": "Which colour?"},
                {"from": "gpt", "value": "Red, I think."},
            ],
            "rejected_response": "No idea.",
        },
    ],
    ids=["text", "message", "list", "whole", "in a table", "sharegpt"],
)
def test_a_conversation_with_a_worse_answer_is_a_pair(values: dict[str, Any]) -> None:
    assert read(**values) == PAIR


def test_the_earlier_turns_are_the_prompt_of_both_answers() -> None:
    record = read(messages=[*EARLIER, USER, GOOD], rejected_response="No idea.")
    assert record.prompt == (*EARLIER, USER)
    assert (record.chosen, record.rejected) == ((GOOD,), (BAD,))


def test_a_task_of_chat_learns_the_conversation_alone() -> None:
    record = read(asked=Asked(records=(ChatRecord,)), messages=[USER, GOOD], rejected_response="No idea.")
    assert record == ChatRecord((USER, GOOD), None, "f.jsonl:1")


def test_a_row_without_its_worse_answer_is_left_out() -> None:
    rows = [*rows_of(messages=[USER, GOOD], rejected_response="No idea.") * 50]
    shape = detect_shape(rows, {})
    with pytest.raises(RowError, match="answer is missing"):
        shape.to_record(Row({"messages": [USER, GOOD], "rejected_response": None}, "f.jsonl", 1))
    with pytest.raises(RowError, match="are the same"):
        shape.to_record(Row({"messages": [USER, GOOD], "rejected_response": GOOD["content"]}, "f.jsonl", 1))


@pytest.mark.parametrize("shape", ["preference-answered", "preference-messages"])
@pytest.mark.parametrize("turns", [[USER], [USER, GOOD]])
def test_rows_without_answers_are_read_for_a_prediction(shape: str, turns: list[Any]) -> None:
    record = UnansweredRows.like(shape, {}, {}).to_record(Row({"messages": turns}, "f.jsonl", 1))
    assert isinstance(record, PreferenceRecord)
    assert record.prompt == (USER,)


@pytest.mark.parametrize(
    "values",
    [
        {"prompt": "Which colour?", "response": "Red, I think.", "rejected": "No idea."},
        {"query": "Which colour?", "response": "Red, I think.", "rejected_response": "No idea."},
        {"instruction": "Which colour?", "input": "", "output": "Red, I think.", "bad_output": "No idea."},
        {"Question": "Which colour?", "Answer": "Red, I think.", "Wrong Answer": "No idea."},
        {"messages": [USER, GOOD], "worseResponse": "No idea."},
        {"conversations": [USER], "chosen": GOOD, "reject": BAD},
        {"prompt": "Which colour?", "completion": "Red, I think.", "non_preferred_completion": "No idea."},
    ],
)
def test_other_names_are_asked_about_with_a_command_that_works(values: dict[str, Any]) -> None:
    for asked in (None, Asked(records=TASKS)):
        with pytest.raises(DataError, match="seems to hold worse answers") as caught:
            read(asked=asked, **values)
    command = re.findall(r"`(--set data.columns[^`]*)`", caught.value.fix)[0]
    columns = dict(word.removeprefix("data.columns.").split("=", 1) for word in shlex.split(command)[1::2])
    assert read(columns, **values) == PAIR
    for shape in re.findall(r"data.shape=([a-z-]+)", caught.value.fix):
        record = detect_shape(rows_of(**values), {}, shape).to_record(rows_of(**values)[0])
        assert record.answer() == GOOD["content"]


def test_turns_before_the_prompt_of_a_pair_are_not_lost() -> None:
    record = read(prompt="Which colour?", chosen="Red, I think.", rejected="No idea.", history=[["Hi.", "Hello."]])
    assert record.prompt == (*EARLIER, USER)
    record = read(prompt="Which colour?", completion="Red, I think.", label=True, history=[["Hi.", "Hello."]])
    assert record.prompt == (*EARLIER, USER)


@pytest.mark.parametrize("name", ["rejected", "bad_output", "rejectedResponse", "negative answer", "reject", "Worse"])
def test_names_of_worse_answers(name: str) -> None:
    assert is_worse(name)


@pytest.mark.parametrize("name", ["bad_words", "preferred", "response", "rejected_by", "message", "rejected_at"])
def test_names_of_other_columns(name: str) -> None:
    assert not is_worse(name)


def test_flags_and_numbers_are_no_answers() -> None:
    record = read(prompt="Which colour?", completion="Red.", wrong=3, response_id="x")
    assert record.answer() == "Red."


@pytest.mark.parametrize("name", ["chosen", "rejected"])
def test_several_answers_of_one_side_are_told_to_be_rows_of_their_own(name: str) -> None:
    values = {"prompt": "a?", "chosen": "b", "rejected": "c", name: ["d", "e"]}
    with pytest.raises(DataError, match="has a list of answers") as caught:
        read(**values)
    assert f"jq -c '.{name}[] as $one | .{name} = $one'" in caught.value.fix


def test_two_answers_in_a_list_are_asked_about_with_a_command_that_works() -> None:
    values = {"instruction": "Which colour?", "output": ["Red, I think.", "No idea of it."]}
    with pytest.raises(DataError, match="is the first the better one") as caught:
        read(**values)
    record = detect_shape(rows_of(**values), {}, "alpaca").to_record(rows_of(**values)[0])
    assert record.answer() == '["Red, I think.", "No idea of it."]'
    (made,) = run_jq(caught.value.fix, values)
    record = read(**made)
    assert (record.chosen[0]["content"], record.rejected[0]["content"]) == ("Red, I think.", "No idea of it.")


@pytest.mark.parametrize(
    "values", [{"output": ["red", "blue"]}, {"output": ["a b c"] * 3}, {"answer": ["a b c", "d e f"]}]
)
def test_other_lists_stay_what_they_are(values: dict[str, Any]) -> None:
    name = "instruction" if "output" in values else "question"
    assert isinstance(read(**{name: "Which?"}, **values), ChatRecord)
