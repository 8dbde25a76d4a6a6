"""What a chat template has no form for, written as plain text into turns that it has: calls, tools, the system text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from burnish.data.rows.row import RowError
from burnish.visible import parse_json

Message = dict[str, Any]


def calls_as_text(adapted: list[Message]) -> list[Message]:
    """Writes calls as text into the answer, and their results as text into a user turn."""
    out: list[Message] = []
    after_result = False
    for message in adapted:
        is_result = message["role"] == "tool"
        if is_result:
            message = {"role": "user", "content": f"<tool_response>\n{message['content']}\n</tool_response>"}
        elif "tool_calls" in message:
            calls = [_call_as_text(call["function"]) for call in message["tool_calls"]]
            content = "\n".join([message["content"], *calls] if message["content"] else calls)
            message = {**{k: v for k, v in message.items() if k != "tool_calls"}, "content": content}
        # Consecutive results, or a result and a question, become one turn: many templates require alternating roles.
        if after_result and message["role"] == "user":
            out[-1] = {"role": "user", "content": out[-1]["content"] + "\n" + message["content"]}
        else:
            out.append(message)
        after_result = is_result
    return out


def _call_as_text(function: Mapping[str, Any]) -> str:
    call = {"name": function["name"], "arguments": parsed_arguments(function.get("arguments", {}))}
    return f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>"


def tools_as_text(adapted: list[Message], tools: list[Message]) -> list[Message]:
    """Describes tools, and how to call one, in the system text; with a new one if there is none."""
    lines = [json.dumps(tool["function"], ensure_ascii=False) for tool in tools]
    text = "\n".join(
        [
            "You can call these tools:",
            *lines,
            "To call one, answer with its name and arguments as JSON:",
            '<tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>',
        ]
    )
    if adapted and adapted[0]["role"] == "system":
        return [{**adapted[0], "content": f"{adapted[0]['content']}\n\n{text}"}, *adapted[1:]]
    return [{"role": "system", "content": text}, *adapted]


def fold_system(adapted: list[Message]) -> list[Message]:
    """Puts system texts at the start of the next user turn, or into a user turn of their own if an answer follows."""
    out: list[Message] = []
    pending: list[str] = []
    for message in adapted:
        if message["role"] == "system":
            pending.append(message["content"])
            continue
        if pending and message["role"] == "user":
            message = {**message, "content": "\n\n".join([*pending, message["content"]])}
            pending = []
        elif pending:
            out.append({"role": "user", "content": "\n\n".join(pending)})
            pending = []
        out.append(message)
    if pending:
        out.append({"role": "user", "content": "\n\n".join(pending)})
    return out


def move_system(adapted: list[Message]) -> list[Message]:
    """Puts system texts after the first turn into user turns: at the start of the next one, or, if an answer follows,
    at the end of the one before."""
    begun = next((place for place, message in enumerate(adapted) if message["role"] != "system"), len(adapted))
    out, pending = adapted[:begun], list[str]()
    for message in adapted[begun:]:
        if message["role"] == "system":
            pending.append(message["content"])
            continue
        if pending and message["role"] == "user" and isinstance(message["content"], str):
            message = {**message, "content": "\n\n".join([*pending, message["content"]])}
        elif pending:
            out = _asked_at_end(out, pending)
        pending = []
        out.append(message)
    return _asked_at_end(out, pending) if pending else out


def _asked_at_end(turns: list[Message], texts: list[str]) -> list[Message]:
    """The turns with texts at the end of the last one, or in a user turn of their own."""
    *before, last = turns
    if last["role"] == "user" and isinstance(last["content"], str):
        return [*before, {**last, "content": "\n\n".join([last["content"], *texts])}]
    return [*turns, {"role": "user", "content": "\n\n".join(texts)}]


def join_system(adapted: list[Message]) -> list[Message]:
    """Makes system texts in a row one, for a template that takes no second."""
    out: list[Message] = []
    for message in adapted:
        if out and message["role"] == out[-1]["role"] == "system":
            before = out.pop()
            message = {**before, "content": f"{before['content']}\n\n{message['content']}"}
        out.append(message)
    return out


def parsed_arguments(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return parse_json(arguments) if arguments.strip() else {}
    except ValueError as error:
        raise RowError(f"the arguments of a tool call are not JSON: {arguments[:80]}") from error
