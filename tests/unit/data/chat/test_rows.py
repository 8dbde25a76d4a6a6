"""Records of questions and answers in columns, and what a message may hold, one rule at a time."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.data.chat.messages import part_kind, read_content, read_message
from burnish.data.chat.questions import ask_about_marks, unused_keys
from burnish.data.chat.rows import (
    MOST_MESSAGES,
    answer_record,
    conversation_record,
    read_messages,
    read_tools,
    with_system,
)
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.patterns import ANSWER, PROMPT, SYSTEM, TOOLS, TURNS
from burnish.data.rows.records import ChatRecord
from burnish.data.rows.row import Row, RowError
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError

QUESTIONS = Pattern("questions", ChatRecord, "", (PROMPT, ANSWER), (TOOLS, SYSTEM), ("input",))
BARE = Pattern("bare", ChatRecord, "", (PROMPT, ANSWER))
TALKS = Pattern("talks", ChatRecord, "", (TURNS,), (TOOLS, SYSTEM))
ASK, FINE = {"role": "user", "content": "How?"}, {"role": "assistant", "content": "Fine."}
BRIEF = {"role": "system", "content": "Be brief."}
TOOL = {"type": "function", "function": {"name": "sum"}}


def question(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answer(text: str, **keys: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **keys}


@pytest.mark.parametrize(
    ("values", "messages"),
    [
        ({"prompt": "How?", "completion": "Fine."}, (ASK, FINE)),
        ({"prompt": "How?", "completion": "Fine.", "system": "Be brief."}, (BRIEF, ASK, FINE)),
        ({"prompt": "How?", "completion": "Fine.", "system": " "}, (ASK, FINE)),
        ({"prompt": "Add", "input": "1 2", "completion": "3"}, (question("Add\n\n1 2"), answer("3"))),
        ({"prompt": "Add", "input": " ", "completion": "3"}, (question("Add"), answer("3"))),
        ({"prompt": "Add", "input": None, "completion": "3"}, (question("Add"), answer("3"))),
        ({"prompt": " ", "input": "1 2", "completion": "3"}, (question("1 2"), answer("3"))),
        ({"prompt": "", "completion": "3"}, (question(""), answer("3"))),
        ({"prompt": [ASK], "completion": [FINE]}, (ASK, FINE)),
        ({"prompt": [ASK], "completion": "Fine."}, (ASK, FINE)),
        ({"prompt": "How?", "completion": [FINE]}, (ASK, FINE)),
        ({"prompt": [BRIEF, ASK], "completion": [FINE, ASK], "system": "Rhyme."}, (BRIEF, ASK, FINE)),
        ({"prompt": [ASK, FINE, ASK], "completion": [FINE]}, (ASK, FINE, ASK, FINE)),
        ({"prompt": [1, 2], "completion": "3"}, (question("[1, 2]"), answer("3"))),
        ({"prompt": [], "completion": "3"}, (question("[]"), answer("3"))),
        ({"prompt": [{"a": 1}], "completion": "3"}, (question('[{"a": 1}]'), answer("3"))),
    ],
)
def test_a_question_and_its_answer_are_a_conversation(values: dict[str, Any], messages: tuple[Any, ...]) -> None:
    assert answer_record(QUESTIONS, values, "a:1") == ChatRecord(messages, None, "a:1")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"prompt": "How?"}, "the answer is missing (column `completion`)"),
        ({"prompt": "How?", "response": None}, "the answer is missing (column `response`)"),
        ({"prompt": "How?", "output": " \n"}, "the answer is empty (column `output`)"),
        ({"question": None, "answer": "Fine."}, "the question is missing (column `question`)"),
        (
            {"prompt": [ASK, FINE], "completion": [answer(" ")]},
            "the answer is empty: no assistant message in the completion has content or tool calls",
        ),
        (
            {"prompt": [ASK, FINE], "completion": ""},
            "the answer is empty: no assistant message in the completion has content or tool calls",
        ),
        ({"prompt": [ASK], "completion": [{"role": "narrator", "content": "b"}]}, "message 2 has the unknown role"),
        ({"prompt": [ASK], "completion": [ASK]}, "there is no assistant message in `completion`"),
    ],
)
def test_a_question_without_an_answer_is_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError) as caught:
        answer_record(QUESTIONS, values, "a:1")
    assert reason in str(caught.value)


def test_tools_are_read_where_the_shape_has_a_column_for_them() -> None:
    values = {"prompt": "How?", "completion": "Fine.", "tools": [TOOL]}
    assert answer_record(QUESTIONS, values, "a:1").tools == (TOOL,)
    assert answer_record(BARE, values, "a:1").tools is None
    talk = {"messages": [ASK, FINE], "functions": [TOOL["function"]], "system": "Be brief."}
    assert conversation_record(TALKS, talk, "a:2") == ChatRecord((BRIEF, ASK, FINE), (TOOL,), "a:2")


def test_a_system_text_stands_in_front_unless_there_is_one() -> None:
    assert with_system({"system": "Rhyme."}, (BRIEF, ASK)) == (BRIEF, ASK)
    assert with_system({"system": "Be brief."}, (ASK, BRIEF)) == (BRIEF, ASK, BRIEF)
    for nothing in (None, "", " \n"):
        assert with_system({"system": nothing}, (ASK,)) == (ASK,)
    assert with_system({}, (ASK,)) == (ASK,)


@pytest.mark.parametrize("name", [7, "", None, ["Ann"]])
def test_a_name_is_kept_if_it_is_text(name: Any) -> None:
    assert read_message({**ASK, "name": name, "tool_call_id": "c1"}, 1) == {**ASK, "tool_call_id": "c1"}
    assert read_message({**ASK, "name": "Ann"}, 1)["name"] == "Ann"


@pytest.mark.parametrize(
    ("key", "where"), [("name", "`name`"), ("thinking", "`message 3, thinking`"), ("content", "`message 3`")]
)
def test_half_a_character_is_refused_wherever_it_is(key: str, where: str) -> None:
    with pytest.raises(RowError) as caught:
        read_message({**FINE, key: "a\ud83d"}, 3)
    assert str(caught.value).startswith(f"{where} has half a surrogate pair")


def test_a_conversation_of_thousands_of_messages_is_refused() -> None:
    """It would take hours."""
    turns = [{"role": role, "content": "x"} for role in ("user", "assistant")] * (MOST_MESSAGES // 2)
    assert len(read_messages(turns, "messages")) == MOST_MESSAGES
    with pytest.raises(RowError, match="4,098 messages, and a conversation may have 4,096"):
        read_messages([*turns, *turns[:2]], "messages")


@pytest.mark.parametrize("weight", [1, 1.0, True, "1", "1.0", "true", " True "])
@pytest.mark.parametrize("key", ["weight", "train", "loss"])
def test_an_answer_of_weight_1_is_learned(key: str, weight: Any) -> None:
    assert read_message(answer("Fine.", **{key: weight}), 2) == FINE


@pytest.mark.parametrize("key", ["weight", "train", "loss"])
@pytest.mark.parametrize("weight", [0, 0.0, False, "0", "0.0", "false", " False "])
def test_an_answer_of_weight_0_is_not_learned(key: str, weight: Any) -> None:
    assert read_message(answer("Fine.", **{key: weight}), 2) == {**FINE, "weight": 0}


def test_every_key_that_says_what_is_learned_counts() -> None:
    assert read_message(answer("Fine.", loss=2.31, loss_weight=0), 2)["weight"] == 0, "a loss may be measured"
    assert read_message(answer("Fine.", weight=None, train=False), 2)["weight"] == 0
    assert read_message(answer("Fine.", weight=1, train=False), 2)["weight"] == 0
    assert "weight" not in read_message({**ASK, "weight": 0}, 1), "of answers alone"
    with pytest.raises(RowError, match="message 2 has the train 2; an answer is learned"):
        read_message(answer("Fine.", train=2), 2)


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        ("a", "text"),
        ({"text": "a"}, "text"),
        ({"type": "output_text", "text": "a"}, "text"),
        ({"type": "widget", "text": "a"}, "widget"),
        ({"text": 5}, None),
        ({}, None),
        ({"type": "image", "text": "a"}, "image"),
    ],
)
def test_the_type_of_a_part(part: Any, kind: str | None) -> None:
    assert part_kind(part) == kind
    if kind != "text":
        with pytest.raises(RowError, match=f"message 4 has .*`{kind}`"):
            read_content(["b", part], 4)


def test_thoughts_and_calls_among_the_parts_are_kept_apart() -> None:
    call = {"name": "sum", "arguments": {"a": 1}}
    parts = [
        {"type": "thinking", "thinking": "Hm. "},
        {"type": "reasoning", "text": "So."},
        {"type": "text", "text": None},
        "Fi",
        {"type": "text", "text": "ne."},
        {"type": "tool_call", "tool_call": call},
        {"type": "tool_call", "value": None, "text": '{"name": "sum", "arguments": {"a": 1}}'},
    ]
    assert read_content(parts, 1) == ("Fine.", "Hm. So.", [call, call])


@pytest.mark.parametrize("call", ["sum", 7, {}, {"function": {}}, {"name": ""}, {"name": 7}, {"function": "sum"}])
def test_a_call_without_a_name_is_refused(call: Any) -> None:
    with pytest.raises(RowError, match=r"the tool call of message 2 (has no function name|: not JSON|.*not JSON)"):
        read_message(answer("", tool_calls=[call]), 2)


def test_an_id_of_a_call_is_kept_if_it_is_text() -> None:
    def read(call: dict[str, Any]) -> Any:
        return read_message(answer("", tool_calls=[call]), 2)["tool_calls"]

    plain = {"type": "function", "function": {"name": "sum", "arguments": {}}}
    assert read({"id": "c1", "name": "sum"}) == [{"id": "c1", **plain}]
    assert read({"id": 7, "name": "sum"}) == [plain]
    assert read({"function": {"name": "sum", "arguments": " "}}) == [plain]
    assert read({"function": {"name": "sum", "arguments": None}}) == [plain]


def test_tools_that_cannot_be_written_are_refused() -> None:
    for value in ([{"name": "sum", "limit": {1}}], [{"function": {"name": "sum"}, "limit": b"1"}]):
        with pytest.raises(RowError, match="`tools` cannot be written as JSON"):
            read_tools(value)


TALK = [{**ASK, "note": 1}, FINE]
SPACED = '\n [\n            {"role": "user", "content": "How?", "note": 1}]'


@pytest.mark.parametrize(
    ("cell", "keys"),
    [
        (TALK, ("note",)),
        (tuple(TALK), ("note",)),
        (TALK[0], ("note",)),
        (SPACED, ("note",)),
        ('[{"from": "human", "value": "How?", "mood": "fine"}]', ("mood",)),
        ('[{"role": "user", "note": 1', ()),
        ('["role", "from"]', ()),
        ('{"role": "user", "note": 1}', ()),
        ([{"meta": 1}], ()),
        ({"meta": 1}, ()),
        ([{**ASK, "note": None, "loss": 0, "loss_weight": 1, "weight": 0.5}], ()),
        ([{**ASK, "loss": 2.5, "loss_weight": 0.5}], ("loss", "loss_weight")),
        ("[", ()),
        (7, ()),
    ],
)
def test_unused_keys_are_those_of_messages(cell: Any, keys: tuple[str, ...]) -> None:
    assert unused_keys([{"talk": cell, "other": [{"role": "x", "besides": 1}]}], ["talk", "absent"]) == keys


def asked(*turns: dict[str, Any]) -> str:
    """The key that is asked about; empty if there is none."""
    try:
        ask_about_marks([{"messages": list(turns), "other": TALK}], ["messages"], "messages")
    except DataError as error:
        return error.what.split("`")[1]
    return ""


@pytest.mark.parametrize(
    ("key", "values", "is_asked"),
    [
        ("mask", [True, False], True),
        ("is-masked", [1, 0], True),
        ("Mask", ["true", " False"], True),
        ("mask", [True, None, False], True),
        ("mask", [1, 1.0, True, 0, 0.0, False], True),
        ("mask", [True, True], False),
        ("mask", [True, None], False),
        ("mask", [True, "half"], False),
        ("mask", ["a", "b"], False),
        ("unmasked", [True, False], False),
        ("edited", [True, False], False),
        ("weight", [1, 0], False),
        ("name", ["1", "0"], False),
    ],
)
def test_a_mark_is_asked_about_if_its_values_differ_and_say_yes_or_no(
    key: str, values: list[Any], is_asked: bool
) -> None:
    assert asked(*(answer("Fine.", **{key: value}) for value in values)) == (key if is_asked else "")


def test_messages_are_numbered_from_1() -> None:
    with pytest.raises(RowError, match="message 2 is not an object"):
        read_messages([ASK, "Fine."], "messages")
    with pytest.raises(RowError, match="message 1 has no `role`"):
        read_messages([{"content": "a"}], "messages")


WEATHER = {"type": "function", "function": {"name": "weather", "arguments": {"city": "Oslo"}}}
CALLED: dict[str, list[dict[str, Any]]] = {
    "Anthropic": [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "cold"}]},
                {"type": "text", "text": "So?"},
            ],
        },
    ],
    "Gemini": [
        {
            "role": "model",
            "parts": [
                {"text": "Let me see."},
                {"functionCall": {"id": "t1", "name": "weather", "args": {"city": "Oslo"}}},
            ],
        },
        {"role": "user", "parts": [{"functionResponse": {"name": "w", "response": "cold"}}, {"text": "So?"}]},
    ],
    "Bedrock": [
        {
            "role": "assistant",
            "content": [
                {"text": "Let me see."},
                {"toolUse": {"toolUseId": "t1", "id": "t1", "name": "weather", "input": {"city": "Oslo"}}},
            ],
        },
        {
            "role": "user",
            "content": [{"toolResult": {"toolUseId": "t1", "content": [{"json": "cold"}]}}, {"text": "So?"}],
        },
    ],
}


@pytest.mark.parametrize("maker", CALLED)
def test_calls_and_results_of_tools_may_be_parts(maker: str) -> None:
    messages = read_messages([ASK, *CALLED[maker], {"role": "assistant", "content": "Cold."}], "messages")
    assert messages[1] == answer("Let me see.", tool_calls=[{"id": "t1", **WEATHER}])
    assert (messages[2]["role"], messages[2]["content"]) == ("tool", "cold")
    assert messages[3:] == (question("So?"), answer("Cold."))


def test_a_plan_for_tools_is_a_thought() -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    read = read_message({"role": "assistant", "tool_plan": "I look.", "tool_calls": [call]}, 2)
    assert read["reasoning_content"] == "I look."


@pytest.mark.parametrize(
    "tools",
    [
        [{"functionDeclarations": [{"name": "sum", "parameters": {"type": "object"}}]}],
        [{"toolSpec": {"name": "sum", "inputSchema": {"json": {"type": "object"}}}}],
        {"tools": [{"name": "sum", "input_schema": {"type": "object"}}]},
    ],
    ids=["Gemini", "Bedrock", "in an object"],
)
def test_tools_of_other_makers(tools: Any) -> None:
    described = {"type": "function", "function": {"name": "sum", "parameters": {"type": "object"}}}
    assert read_tools(tools) == (described,)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("system_prompt", "Be brief."),
        ("systemInstruction", {"role": "system", "parts": [{"text": "Be brief."}]}),
        ("system", [{"text": "Be brief."}]),
    ],
    ids=str,
)
def test_a_system_text_under_other_names_and_in_parts(name: str, value: Any) -> None:
    assert with_system({name: value}, (ASK, FINE)) == (BRIEF, ASK, FINE)


def test_a_history_may_be_messages() -> None:
    values = {"prompt": "And now?", "completion": "Fine, too.", "chat_history": [ASK, FINE]}
    shape = detect_shape([Row(values, "a.jsonl", 1)], {})
    record = shape.to_record(Row(values, "a.jsonl", 1))
    assert record.dialogues() == ((ASK, FINE, question("And now?"), answer("Fine, too.")),)
    assert shape.unused == ""


@pytest.mark.parametrize(
    "turns",
    [
        [{"human": "How?", "assistant": "Fine."}],
        "[{'role': 'user', 'content': 'How?'}, {'role': 'assistant', 'content': 'Fine.'}]",
    ],
    ids=["by role", "as Python prints it"],
)
def test_other_forms_of_turns(turns: Any) -> None:
    assert read_messages(turns, "messages") == (ASK, FINE)
