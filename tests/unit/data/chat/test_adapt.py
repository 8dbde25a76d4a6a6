"""Messages and tools in the form that a chat template supports."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.data.chat.template import TemplateFeatures, adapt
from burnish.data.rows.row import RowError

PLAIN = TemplateFeatures(system=False, thoughts="text", call_thoughts="text", tools=False, calls=False)
SUM = {"name": "sum", "description": "Adds.", "parameters": {"type": "object", "properties": {}}}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def answer(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


def test_bare_tools_and_calls_get_a_mapping_for_the_function() -> None:
    call = {"id": "a1", "type": "function", "name": "sum", "arguments": {"a": 1}}
    messages, tools = adapt([user("Add"), answer("", tool_calls=[call])], [SUM], TemplateFeatures())
    assert tools == [{"type": "function", "function": SUM}]
    assert messages[1]["tool_calls"] == [
        {"id": "a1", "type": "function", "function": {"name": "sum", "arguments": {"a": 1}}}
    ]
    nested = {"type": "function", "function": SUM}
    assert adapt([user("Add")], [nested], TemplateFeatures())[1] == [nested]
    assert adapt([user("Add")], None, TemplateFeatures())[1] is None


def test_keys_without_value_are_left_out() -> None:
    messages, _ = adapt([user("Hi"), {"role": "assistant", "tool_calls": [], "name": None}], None, TemplateFeatures())
    assert messages == [user("Hi"), answer("")]


def test_thoughts_go_where_the_template_has_a_place_for_them() -> None:
    spelled = [user("Why?"), answer("<think>\nHm.\n</think>\n\nSo.")]
    given = [user("Why?"), answer("So.", reasoning_content="Hm.")]
    (_, moved), _ = adapt(spelled, None, TemplateFeatures())
    assert moved["reasoning_content"].strip() == "Hm."
    assert moved["content"].strip() == "So."
    assert adapt(given, None, TemplateFeatures())[0] == given
    assert adapt(given, None, PLAIN)[0] == [user("Why?"), answer("<think>\nHm.\n</think>\n\nSo.")]
    plain = [user("<think>Hm.</think> So?"), answer("So.")]
    assert adapt(plain, None, TemplateFeatures())[0] == plain, "only answers have thoughts"


def test_results_get_the_ids_of_their_calls() -> None:
    calls = [{"id": name, "function": {"name": name, "arguments": "{}"}} for name in ("first", "second")]
    messages = [
        user("Both"),
        answer("", tool_calls=calls),
        {"role": "tool", "tool_call_id": "second", "content": "2"},
        {"role": "tool", "content": "1"},
        {"role": "tool", "content": "0"},
    ]
    kept, _ = adapt(messages, None, TemplateFeatures())
    assert [call["id"] for call in kept[1]["tool_calls"]] == ["first", "second"]
    assert [call["function"]["arguments"] for call in kept[1]["tool_calls"]] == [{}, {}]
    assert [message["tool_call_id"] for message in kept[2:]] == ["second", "first", "call00000"]
    short, _ = adapt(messages, None, TemplateFeatures(short_call_ids=True, arguments_as_text=True))
    assert [call["id"] for call in short[1]["tool_calls"]] == ["call00001", "call00002"]
    assert [call["function"]["arguments"] for call in short[1]["tool_calls"]] == ["{}", "{}"]
    assert [message["tool_call_id"] for message in short[2:]] == ["call00002", "call00001", "call00000"]


def test_what_a_plain_template_has_no_place_for_becomes_text() -> None:
    call = {"function": {"name": "sum", "arguments": {"a": 1}}}
    messages = [
        {"role": "system", "content": "Be brief."},
        user("Add"),
        answer("", tool_calls=[call]),
        {"role": "tool", "content": "1"},
        user("And?"),
        answer("One"),
    ]
    adapted, tools = adapt(messages, [SUM], PLAIN)
    assert tools is None
    assert [message["role"] for message in adapted] == ["user", "assistant", "user", "assistant"]
    assert adapted[0]["content"].startswith('Be brief.\n\nYou can call these tools:\n{"name": "sum"')
    assert adapted[0]["content"].endswith("\n\nAdd")
    assert adapted[1] == answer('<tool_call>\n{"name": "sum", "arguments": {"a": 1}}\n</tool_call>')
    assert adapted[2] == user("<tool_response>\n1\n</tool_response>\nAnd?")
    without, _ = adapt(messages[1:2], [SUM], TemplateFeatures(tools=False))
    assert [message["role"] for message in without] == ["system", "user"]


def test_a_system_text_before_an_answer_is_a_turn_of_its_own() -> None:
    system = {"role": "system", "content": "Be brief."}
    assert adapt([system, answer("Hello.")], None, PLAIN)[0] == [user("Be brief."), answer("Hello.")]
    assert adapt([user("Hi"), system], None, PLAIN)[0][-1] == user("Be brief.")


def test_arguments_that_are_not_json_are_refused() -> None:
    call = {"function": {"name": "sum", "arguments": "{a: 1}"}}
    for features in (TemplateFeatures(), PLAIN):
        with pytest.raises(RowError, match="the arguments of a tool call are not JSON: {a: 1}"):
            adapt([user("Add"), answer("", tool_calls=[call])], None, features)
