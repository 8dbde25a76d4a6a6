"""Messages in every spelling become one form; what cannot be learned from is refused in words."""

from __future__ import annotations

import json

import pytest

from burnish.data.chat.rows import read_messages, read_tools
from burnish.data.rows.row import RowError
from tests.snapshots import check_message

ASK = {"role": "user", "content": "a"}
ANSWER = {"role": "assistant", "content": "b"}
CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
CALLING = {"role": "assistant", "content": "", "tool_calls": [CALL]}
RESULT = {"role": "tool", "content": "1"}


def said(role, value):
    return {"from": role, "value": value}


SAME = {
    "plain": [ASK, ANSWER],
    "json text": json.dumps([ASK, ANSWER]),
    "a tuple": (ASK, ANSWER),
    "nulls of a columnar file": [{**ASK, "tool_calls": None, "name": None}, {**ANSWER, "tool_calls": []}],
    "unknown keys": [{**ASK, "loss_weight": 0.0}, ANSWER],
    "text parts": [{"role": "user", "content": [{"type": "text", "text": "a"}]}, ANSWER],
    "two text parts": [
        ASK,
        {"role": "assistant", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "b"}]},
    ],
    "parts with values": [{"role": "user", "content": [{"type": "text", "value": "a"}]}, ANSWER],
    "human and gpt": [said("human", "a"), said("gpt", "b")],
    "user and assistant": [said("user", "a"), said("assistant", "b")],
    "chatgpt": [said("human", "a"), said("chatgpt", "b")],
    "bing": [said("human", "a"), said("bing", "b")],
    "model": [said("human", "a"), said("model", "b")],
    "what follows the last answer": [
        ASK,
        ANSWER,
        {"role": "user", "content": "thanks"},
        {"role": "assistant", "content": " "},
    ],
}


@pytest.mark.parametrize("name", SAME)
def test_spellings_of_one_conversation(name):
    assert read_messages(SAME[name], "messages") == (ASK, ANSWER)


CALLS = {
    "openai": [ASK, {"role": "assistant", "content": None, "tool_calls": [CALL]}, RESULT, ANSWER],
    "arguments as text": [
        ASK,
        {
            "role": "assistant",
            "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}],
        },
        RESULT,
        ANSWER,
    ],
    "bare call": [ASK, {"role": "assistant", "tool_calls": [{"name": "f", "arguments": {"x": 1}}]}, RESULT, ANSWER],
    "old function_call": [
        ASK,
        {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": '{"x": 1}'}},
        {"role": "function", "content": "1"},
        ANSWER,
    ],
    "call as a part": [
        ASK,
        {"role": "assistant", "content": [{"type": "tool_call", "value": '{"name": "f", "arguments": {"x": 1}}'}]},
        RESULT,
        ANSWER,
    ],
    "sharegpt": [
        said("human", "a"),
        said("function_call", '{"name": "f", "arguments": {"x": 1}}'),
        said("observation", "1"),
        said("gpt", "b"),
    ],
    "sharegpt tool": [
        said("human", "a"),
        said("function_call", '[{"name": "f", "arguments": "{\\"x\\": 1}"}]'),
        said("tool", "1"),
        said("gpt", "b"),
    ],
}


@pytest.mark.parametrize("name", CALLS)
def test_spellings_of_a_tool_call(name):
    assert read_messages(CALLS[name], "messages") == (ASK, CALLING, RESULT, ANSWER)


def test_several_calls_and_no_arguments():
    value = '[{"name": "f", "arguments": {}}, {"name": "g"}]'
    (_, message) = read_messages([said("human", "a"), said("function_call", value)], "conversations")
    assert [call["function"] for call in message["tool_calls"]] == [
        {"name": "f", "arguments": {}},
        {"name": "g", "arguments": {}},
    ]


def test_ids_names_and_thoughts_are_kept():
    messages = [
        {"role": "developer", "content": "s"},
        {**ASK, "name": "Ann"},
        {**CALLING, "tool_calls": [{"id": "c1", **CALL}]},
        {**RESULT, "tool_call_id": "c1"},
        {**ANSWER, "reasoning_content": "hm"},
        {"role": "assistant", "content": [{"type": "reasoning", "value": "so"}, {"type": "text", "text": "d"}]},
    ]
    assert read_messages(messages, "messages") == (
        {"role": "system", "content": "s"},
        *messages[1:5],
        {"role": "assistant", "content": "d", "reasoning_content": "so"},
    )


def test_consecutive_turns_and_no_question_are_left_as_they_are():
    assert read_messages([ASK, ASK, ANSWER, ANSWER], "messages") == (ASK, ASK, ANSWER, ANSWER)
    assert read_messages([ANSWER], "messages") == (ANSWER,)


REFUSED = {
    "nothing": None,
    "blank": " ",
    "a number": 3,
    "broken json": '[{"role"',
    "a string inside": ["hello"],
    "no role": [{"content": "a"}],
    "unknown role": [ASK, {"role": "narrator", "content": "b"}],
    "role of another type": [{"role": ["user"], "content": "b"}],
    "empty list": [],
    "no answer": [ASK],
    "blank answer": [ASK, {"role": "assistant", "content": " \n"}],
    "null answer": [ASK, {"role": "assistant", "content": None}],
    "null question": [{"role": "user", "content": None}, ANSWER],
    "image": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, ANSWER],
    "unknown part": [{"role": "user", "content": [{"type": "widget"}]}, ANSWER],
    "call that is no json": [said("human", "a"), said("function_call", "f(1)")],
    "call without name": [ASK, {"role": "assistant", "tool_calls": [{}]}],
    "arguments that are no json": [ASK, {"role": "assistant", "tool_calls": [{"name": "f", "arguments": "x=1"}]}],
    "arguments that are a list": [ASK, {"role": "assistant", "tool_calls": [{"name": "f", "arguments": [1]}]}],
    "half a surrogate": [ASK, {"role": "assistant", "content": "\ud83d"}],
    "half a surrogate in a call": [
        ASK,
        {"role": "assistant", "tool_calls": [{"name": "f", "arguments": {"x": "\udc00"}}]},
    ],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    value = REFUSED[name]
    with pytest.raises(RowError) as caught:
        read_messages(value, "messages")
    check_message(caught.value)


TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


@pytest.mark.parametrize(
    ("value", "tools"),
    [
        ([TOOL], (TOOL,)),
        ([TOOL["function"]], (TOOL,)),
        (json.dumps([TOOL["function"]]), (TOOL,)),
        (TOOL, (TOOL,)),
        (None, None),
        ([], None),
        ("", None),
        ("[]", None),
        (float("nan"), None),
    ],
)
def test_spellings_of_tools(value, tools):
    assert read_tools(value) == tools


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("[{", "tools: not JSON (Expecting property name enclosed in double quotes: line 1 column 3 (char 2))"),
        (["f"], "a tool in `tools` has no name"),
        ([{"description": "x"}], "a tool in `tools` has no name"),
    ],
)
def test_tools_that_are_refused(value, reason):
    with pytest.raises(RowError) as caught:
        read_tools(value)
    check_message(caught.value)
