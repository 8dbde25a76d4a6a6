"""Keys and columns of conversations that seem to matter are used or asked about, whatever they are called."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.data.chat.messages import read_call
from burnish.data.chat.rows import read_tools
from burnish.data.rows.records import ChatRecord
from burnish.data.rows.row import Row, RowError
from burnish.data.rows.settled import Asked
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError

ASK = {"role": "user", "content": "Where is the key?"}
TOOL = {"name": "find", "description": "Finds a thing", "parameters": {"type": "object", "properties": {}}}
THOUGHT = "It was on the table, and nobody moved it."


def rows_of(*values: dict[str, Any]) -> list[Row]:
    return [Row(one, "talks.jsonl", number) for number, one in enumerate(values, start=1)]


def answers(**keys: Any) -> dict[str, Any]:
    return {"messages": [ASK, {"role": "assistant", "content": "On the table.", **keys}]}


def first_record(*values: dict[str, Any], columns: dict[str, str] | None = None) -> ChatRecord:
    rows = rows_of(*values)
    record = detect_shape(rows, columns or {}).to_record(rows[0])
    assert isinstance(record, ChatRecord)
    return record


@pytest.mark.parametrize("key", ["is_train", "should_train", "compute_loss"])
def test_known_keys_say_what_is_learned(key: str) -> None:
    talk = {"messages": [ASK, {"role": "assistant", "content": "Away.", key: False}, ASK, *answers()["messages"][1:]]}
    assert [message.get("weight") for message in first_record(talk).messages] == [None, 0, None, None]


@pytest.mark.parametrize(
    ("values", "command"),
    [
        ([answers(masking=True), answers(masking=False)], "Rename it to `train`"),
        ([answers(noTrain=True), answers()], "Rename it to `train`"),
        ([answers(training_detail=[{"begin": 0, "train": False}])], "`train: false`"),
        ([answers(thumb_feedback="down"), answers(thumb_feedback="up")], "`train: false`"),
        ([answers(analysis=THOUGHT)], "Rename it to `reasoning_content`"),
        ([{**answers(), "abilities": [TOOL]}], "--set data.columns.tools=abilities"),
        ([{"prompt": "Where?", "completion": "There.", "rationale": THOUGHT}], "reasoning_content=rationale"),
    ],
)
def test_keys_and_columns_that_seem_to_matter_are_asked_about(values: list[dict[str, Any]], command: str) -> None:
    with pytest.raises(DataError) as caught:
        detect_shape(rows_of(*values), {})
    assert command in caught.value.fix
    shape = caught.value.fix.rpartition("data.shape=")[2].strip("`")
    assert detect_shape(rows_of(*values), {}, shape).name == shape


@pytest.mark.parametrize("extra", [{"source": "web"}, {"reasoning_language": "French"}, {"training_set": "a b c"}])
def test_other_keys_are_only_named(extra: dict[str, Any]) -> None:
    rows = rows_of(answers(**extra), {**answers(), **extra})
    assert set(extra) <= {*detect_shape(rows, {}).unused_keys}


def test_a_task_that_is_named_does_not_silence_the_question() -> None:
    with pytest.raises(DataError, match="which answers are learned"):
        detect_shape(rows_of(answers(masked=1), answers(masked=0)), {}, asked=Asked(records=(ChatRecord,)))


def test_the_commands_of_the_questions_do_what_they_say() -> None:
    record = first_record({**answers(), "abilities": [TOOL]}, columns={"tools": "abilities"})
    assert record.tools == ({"type": "function", "function": TOOL},)
    row = {"prompt": "Where?", "completion": "There.", "rationale": THOUGHT}
    record = first_record(row, columns={"reasoning_content": "rationale"})
    assert record.messages[-1] == {"role": "assistant", "content": "There.", "reasoning_content": THOUGHT}


def test_tools_are_also_read_from_the_system_message() -> None:
    record = first_record(
        {"messages": [{"role": "system", "content": "Help.", "tools": [TOOL]}, *answers()["messages"]]}
    )
    assert record.tools == ({"type": "function", "function": TOOL},)


@pytest.mark.parametrize("key", ["arguments", "parameters", "input", "args"])
def test_arguments_of_calls_are_read_under_their_usual_names(key: str) -> None:
    assert read_call({"name": "find", key: {"thing": "key"}}, 1)["function"]["arguments"] == {"thing": "key"}


def test_arguments_under_an_unknown_name_are_not_dropped() -> None:
    with pytest.raises(RowError, match="has no `arguments`, but `payload`"):
        read_call({"name": "find", "payload": {"thing": "key"}}, 1)
    assert read_call({"name": "now"}, 1)["function"]["arguments"] == {}


@pytest.mark.parametrize("tool", [{**TOOL, "parameters": '{"type": "object", "properties": {}}'},
                                  {"name": "find", "description": "Finds a thing",
                                   "input_schema": {"type": "object", "properties": {}}}])  # fmt: skip
def test_parameters_of_tools_are_an_object_under_that_name(tool: dict[str, Any]) -> None:
    assert read_tools([tool]) == ({"type": "function", "function": TOOL},)


@pytest.mark.parametrize(
    "turns",
    [
        [{"role": "reasoning", "content": THOUGHT}, {"role": "assistant", "content": "On the table."}],
        [
            {"role": "assistant", "channel": "analysis", "content": THOUGHT},
            {"role": "assistant", "channel": "final", "content": "On the table."},
        ],
        [{"role": "assistant", "content": "On the table.", "reasoning_details": [{"type": "x", "text": THOUGHT}]}],
    ],
)
def test_thoughts_in_messages_or_parts_of_their_own_belong_to_the_answer(turns: list[dict[str, Any]]) -> None:
    record = first_record({"messages": [ASK, *turns]})
    assert record.messages[1:] == ({"role": "assistant", "content": "On the table.", "reasoning_content": THOUGHT},)


def test_a_thought_without_an_answer_is_left_out() -> None:
    rows = rows_of({"messages": [ASK, {"role": "thought", "content": THOUGHT}, ASK, *answers()["messages"][1:]]})
    with pytest.raises(RowError, match="a thought without an answer"):
        detect_shape(rows, {}).to_record(rows[0])


@pytest.mark.parametrize(
    "message",
    [
        {"speaker": "ASSISTANT", "role": None, "text": "On the table."},
        {"author": {"role": "assistant"}, "content": {"content_type": "text", "parts": ["On the table."]}},
        {"author": "bot", "content": "On the table."},
        {"role": "Mistral-7B-Instruct-v0.2", "message": "On the table."},
        {"role": "Assistent", "content": {"text": "On the table."}},
        {"role": "assistant", "content": '[{"type": "text", "text": "On the table."}]'},
        {"role": "assistant", "content": [{"type": "text", "text": {"value": "On the table.", "annotations": []}}]},
    ],
)
def test_one_message_has_many_forms(message: dict[str, Any]) -> None:
    assert first_record({"messages": [ASK, message]}).messages[-1] == answers()["messages"][-1]


def test_a_prompt_and_an_answer_may_be_parts_of_messages() -> None:
    part = {"type": "text", "text": "On the table."}
    record = first_record({"prompt": {"type": "text", "text": ASK["content"]}, "completion": [part]})
    assert record.messages == tuple(answers()["messages"])


def test_an_answer_in_json_stays_one() -> None:
    record = first_record({"messages": [ASK, {"role": "assistant", "content": {"type": "key", "place": "table"}}]})
    assert record.messages[-1]["content"] == '{"type": "key", "place": "table"}'


@pytest.mark.parametrize("name", ["completion", "response", "answer"])
def test_conversations_that_end_with_a_question_have_their_answer_in_a_column(name: str) -> None:
    values = {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a?"}], name: "b"}
    row = Row(values, "f.jsonl", 1)
    with pytest.raises(DataError, match=f"`{name}` seems to have its answer") as caught:
        detect_shape([row], {})
    assert f"--set data.columns.prompt=messages --set data.columns.completion={name}" in caught.value.fix
    assert "data.shape" not in caught.value.fix
    record = detect_shape([row], {"prompt": "messages", "completion": name}).to_record(row)
    assert record.answer() == "b"


def test_whether_was_thought_is_no_thought() -> None:
    rows = [Row({"prompt": "a", "completion": "b", "reasoning": mode}, "f.jsonl", 1) for mode in ("on", "off")]
    shape = detect_shape(rows, {})
    record = shape.to_record(rows[0])
    assert isinstance(record, ChatRecord)
    assert record.messages[1] == {"role": "assistant", "content": "b"}
    assert "only says whether" in shape.notes[0]
