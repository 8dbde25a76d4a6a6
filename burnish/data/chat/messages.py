"""Adapts a conversation to what a chat template supports."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.rows.row import RowError

Message = dict[str, Any]
_THOUGHT = re.compile(r"\s*<think>\s*(.*?)\s*</think>\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TemplateFeatures:
    """What a chat template supports. The rest is written as plain text into supported turns."""

    system: bool = True
    reasoning: bool = True
    """Thoughts before an answer (`reasoning_content`)."""
    tools: bool = True
    calls: bool = True
    """Tool calls and their results."""
    arguments_as_text: bool = False
    """Whether arguments of a call have to be one JSON string instead of a mapping."""
    short_call_ids: bool = False
    """Whether ids of calls have to be nine letters or digits."""


def adapt(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None, features: TemplateFeatures
) -> tuple[list[Message], list[Message] | None]:
    """Rewrites `messages` and `tools` into a form that the template supports.

    The result for a message depends only on the messages up to the next answer, so that the beginning of a conversation
    is the same whether or not its answers follow.

    Raises:
        RowError: the arguments of a call are not JSON.
    """
    adapted = [_plain(message) for message in messages]
    rewrite = _extract_thought if features.reasoning else _reasoning_as_text
    adapted = [rewrite(message) for message in adapted]
    listed = [_nested(tool) for tool in tools] if tools else None
    adapted = _name_calls(adapted, features) if features.calls else _calls_as_text(adapted)
    if listed and not features.tools:
        adapted = _tools_as_text(adapted, listed)
        listed = None
    if not features.system:
        adapted = _fold_system(adapted)
    return adapted, listed


def split_thought(content: str) -> tuple[str, str]:
    """The thought in <think> tags at the start of an answer (empty if there is none), and the rest of the answer."""
    found = _THOUGHT.match(content)
    return (found[1], content[found.end() :]) if found else ("", content)


def _plain(message: Mapping[str, Any]) -> Message:
    kept = {key: value for key, value in message.items() if value is not None and (key != "tool_calls" or value)}
    kept.setdefault("content", "")
    if "tool_calls" in kept:
        kept["tool_calls"] = [_nested(call) for call in kept["tool_calls"]]
    return kept


def _nested(entry: Mapping[str, Any]) -> Message:
    """A tool or a call in OpenAI's form, with the function in a mapping of its own."""
    if "function" in entry:
        return {"type": "function", **entry}
    outer = {key: entry[key] for key in ("id",) if key in entry}
    inner = {key: value for key, value in entry.items() if key not in ("id", "type")}
    return {**outer, "type": "function", "function": inner}


def _name_calls(adapted: list[Message], features: TemplateFeatures) -> list[Message]:
    """Calls with ids and arguments in the form that the template supports; results with the ids of their calls."""
    number = 0
    pending_ids: list[str] = []
    renamed: dict[str, str] = {}
    out = []
    for message in adapted:
        if "tool_calls" in message:
            calls = []
            for call in message["tool_calls"]:
                number += 1
                given = call.get("id")
                id_ = given if given and not features.short_call_ids else f"call{number:05d}"
                pending_ids.append(id_)
                renamed[str(given)] = id_
                calls.append({**call, "id": id_, "function": _with_arguments(call["function"], features)})
            message = {**message, "tool_calls": calls}
        elif message["role"] == "tool":
            named = renamed.get(str(message.get("tool_call_id")))
            id_ = named or (pending_ids[0] if pending_ids else "call00000")
            if id_ in pending_ids:
                pending_ids.remove(id_)
            message = {**message, "tool_call_id": id_}
        out.append(message)
    return out


def _with_arguments(function: Mapping[str, Any], features: TemplateFeatures) -> Message:
    arguments = function.get("arguments", {})
    if features.arguments_as_text:
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        return {**function, "arguments": text}
    return {**function, "arguments": _parsed(arguments)}


def _parsed(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        return json.loads(arguments) if arguments.strip() else {}
    except ValueError as error:
        raise RowError(f"the arguments of a tool call are not JSON: {arguments[:80]}") from error


def _calls_as_text(adapted: list[Message]) -> list[Message]:
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
    call = {"name": function["name"], "arguments": _parsed(function.get("arguments", {}))}
    return f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>"


def _extract_thought(message: Message) -> Message:
    """Moves a thought from the text to `reasoning_content`, so that the template writes it its own way."""
    if message["role"] != "assistant" or "reasoning_content" in message:
        return message
    thought, answer = split_thought(message["content"])
    return {**message, "reasoning_content": thought, "content": answer} if thought else message


def _reasoning_as_text(message: Message) -> Message:
    if "reasoning_content" not in message:
        return message
    kept = {key: value for key, value in message.items() if key != "reasoning_content"}
    return {**kept, "content": f"<think>\n{message['reasoning_content']}\n</think>\n\n{message['content']}"}


def _tools_as_text(adapted: list[Message], tools: list[Message]) -> list[Message]:
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


def _fold_system(adapted: list[Message]) -> list[Message]:
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
