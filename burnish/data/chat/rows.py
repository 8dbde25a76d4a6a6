"""Reads conversations in OpenAI's and ShareGPT's form, and questions with answers, into one form."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from burnish.data.rows.records import ChatRecord
from burnish.data.rows.row import RowError, as_json, as_text, check_characters
from burnish.data.rows.shapes import Pattern, pick

Message = dict[str, Any]

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "model": "assistant",
    "function_call": "function_call",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
KEPT = ("name", "tool_call_id", "reasoning_content")
PARTS = ("text", "reasoning", "thinking", "tool_call")
IMAGES = ("image", "image_url", "input_image", "video", "audio", "input_audio")


def read_messages(value: Any, column: str) -> tuple[Message, ...]:
    """The messages of a row up to the last assistant turn; nothing is trained on after it.

    Raises:
        RowError: they are not messages, or there is no answer.
    """
    value = parse_json_text(value, column)
    if value is None:
        raise RowError(f"`{column}` is missing")
    if not isinstance(value, (list, tuple)):
        raise RowError(f"`{column}` is not a list of messages")
    messages = [read_message(message, number) for number, message in enumerate(value, start=1)]
    return through_last_answer(messages, column)


def through_last_answer(messages: list[Message], column: str) -> tuple[Message, ...]:
    """The messages up to the last non-empty assistant message.

    Raises:
        RowError: there is none.
    """
    answers = [number for number, message in enumerate(messages, start=1) if is_answer(message)]
    if answers:
        return tuple(messages[: answers[-1]])
    if any(message["role"] == "assistant" for message in messages):
        raise RowError("the answer is empty: no assistant message has content or tool calls")
    raise RowError(f"there is no assistant message in `{column}`, so there is nothing to train on")


def is_answer(message: Message) -> bool:
    """Whether this is a non-empty assistant message."""
    return message["role"] == "assistant" and bool(message["content"].strip() or message.get("tool_calls"))


def read_message(message: Any, number: int) -> Message:
    """One message with `role` (or ShareGPT's `from`) and `content` (or `value`).

    Raises:
        RowError: it is not a message; the error gives its 1-based number.
    """
    if not isinstance(message, dict):
        raise RowError(f"message {number} is not an object with `role` and `content`")
    role = read_role(message, number)
    content = message.get("content")
    if content is None:
        content = message.get("value")
    if role == "function_call":
        return {"role": "assistant", "content": "", "tool_calls": read_calls(content, number)}
    text, reasoning, calls = read_content(content, number)
    read: Message = {"role": role, "content": text or ""}
    if role == "assistant":
        calls = calls or message.get("tool_calls") or message.get("function_call")
        if calls:
            read["tool_calls"] = read_calls(calls, number)
        if reasoning:
            read["reasoning_content"] = reasoning
    elif text is None:
        raise RowError(f"message {number} ({role}) has no content")
    for key in KEPT:
        extra = message.get(key)
        if isinstance(extra, str) and extra:
            check_characters(extra, key)
            read[key] = extra
    return read


def read_role(message: Mapping[str, Any], number: int) -> str:
    """The role: `system`, `user`, `assistant`, `tool` or `function_call`.

    Raises:
        RowError: the role is missing or unknown.
    """
    role_name = message.get("role")
    if role_name is None:
        role_name = message.get("from")
    if role_name is None:
        raise RowError(f"message {number} has no `role`")
    role = ROLES.get(role_name) if isinstance(role_name, str) else None
    if role is None:
        raise RowError(f"message {number} has the unknown role `{role_name}`")
    return role


def read_content(content: Any, number: int) -> tuple[str | None, str, list[Any]]:
    """(text, reasoning, tool calls) of a message's content; text parts of a list are joined.

    Raises:
        RowError: a part has an unknown type.
    """
    if not isinstance(content, list):
        return as_text(content, f"message {number}"), "", []
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[Any] = []
    for part in content:
        kind, value = ("text", part) if not isinstance(part, dict) else (part.get("type"), None)
        if kind in IMAGES:
            raise RowError(f"message {number} has `{kind}`: images and audio are not supported by this task")
        if kind not in PARTS:
            raise RowError(f"message {number} has a part of type `{kind}`; this task supports {', '.join(PARTS)}")
        if isinstance(part, dict):
            value = next((part[key] for key in (kind, "text", "value") if part.get(key) is not None), None)
        if kind == "tool_call":
            calls.append(parse_json_text(value, f"the tool call of message {number}"))
        else:
            (texts if kind == "text" else thoughts).append(as_text(value, f"message {number}") or "")
    return "".join(texts), "".join(thoughts), calls


def read_calls(value: Any, number: int) -> list[dict[str, Any]]:
    """Tool calls in OpenAI's form, from the same form, from `{"name", "arguments"}`, or from either as JSON text.

    Raises:
        RowError: a call has no name, or its arguments are not an object.
    """
    value = parse_json_text(value, f"the tool call of message {number}")
    calls = value if isinstance(value, list) else [value]
    return [read_call(call, number) for call in calls]


def read_call(call: Any, number: int) -> dict[str, Any]:
    """One tool call in OpenAI's form. Raises RowError as `read_calls` does."""
    function = call.get("function") or call if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
        raise RowError(f"the tool call of message {number} has no function name")
    arguments = parse_json_text(function.get("arguments"), f"the tool call's arguments in message {number}")
    if not isinstance(arguments, dict) and arguments is not None:
        raise RowError(f"the tool call's arguments in message {number} are not an object")
    as_json(call, f"the tool call of message {number}")
    read = {"type": "function", "function": {"name": function["name"], "arguments": arguments or {}}}
    return {"id": call["id"], **read} if isinstance(call.get("id"), str) else read


def read_tools(value: Any) -> tuple[dict[str, Any], ...] | None:
    """Tool descriptions in OpenAI's form, from a list, one object, or either as JSON text; None if there are none.

    Raises:
        RowError: a tool has no name.
    """
    value = parse_json_text(value, "tools")
    if not value:
        return None
    tools = []
    for tool in value if isinstance(value, list) else [value]:
        function = tool.get("function") or tool if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not function.get("name"):
            raise RowError("a tool in `tools` has no name")
        as_json(tool, "tools")
        tools.append(tool if "function" in tool else {"type": "function", "function": tool})
    return tuple(tools)


def parse_json_text(value: Any, what: str) -> Any:
    """Parses a value that may be JSON text; blank text and NaN become None.

    Raises:
        RowError: the text is not JSON.
    """
    if value != value:
        return None
    if not isinstance(value, str):
        return value
    if not value.strip():
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{what}: not JSON ({error})") from error


def conversation_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> ChatRecord:
    """The record of a row with a list of messages. Raises RowError if it cannot be trained on."""
    name, value = pick(values, pattern.required[0])
    messages = with_system(values, read_messages(value, name))
    return ChatRecord(messages, read_tools(values.get("tools")), place)


def answer_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> ChatRecord:
    """The record of a row with a question and an answer in separate columns. Raises RowError if one is missing."""
    (ask_name, ask), (answer_name, answer) = (pick(values, field) for field in pattern.required)
    if is_message_list(ask) or is_message_list(answer):
        return prompted_conversation(values, ask, answer, place)
    question, text = as_text(ask, ask_name), as_text(answer, answer_name)
    if text is None:
        raise RowError(f"the answer is missing (column `{answer_name}`)")
    if not text.strip():
        raise RowError(f"the answer is empty (column `{answer_name}`)")
    if question is None:
        raise RowError(f"the question is missing (column `{ask_name}`)")
    if pattern.addition:
        name, value = pick(values, pattern.addition)
        addition = as_text(value, name)
        if addition and addition.strip():
            question = f"{question}\n\n{addition}" if question.strip() else addition
    messages = ({"role": "user", "content": question}, {"role": "assistant", "content": text})
    tools = read_tools(values.get("tools")) if "tools" in pattern.names else None
    return ChatRecord(with_system(values, messages), tools, place)


def prompted_conversation(values: Mapping[str, Any], ask: Any, answer: Any, place: str) -> ChatRecord:
    """The record of a prompt or completion that is a list of messages. Raises RowError like `read_messages`."""
    parts = [
        part if is_message_list(part) else [{"role": role, "content": part}]
        for role, part in (("user", ask), ("assistant", answer))
    ]
    messages = [read_message(message, number) for number, message in enumerate(parts[0] + parts[1], start=1)]
    through = through_last_answer(messages, "completion")
    if len(through) <= len(parts[0]):
        raise RowError("the answer is empty: no assistant message in the completion has content or tool calls")
    return ChatRecord(with_system(values, through), read_tools(values.get("tools")), place)


def is_message_list(value: Any) -> bool:
    """Whether a cell is a list of messages."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict) and "role" in value[0]


def with_system(values: Mapping[str, Any], messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages, with the row's `system` column in front unless they already start with a system message."""
    system = as_text(values.get("system"), "system")
    if not system or not system.strip() or messages[0]["role"] == "system":
        return messages
    return ({"role": "system", "content": system}, *messages)
