"""Rewrites a conversation in the words that a chat template knows."""

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
class Abilities:
    """What a chat template can write by itself. What it cannot is written as plain text in the turns that it has."""

    system: bool = True
    reasoning: bool = True
    """Thoughts before an answer (`reasoning_content`)."""
    tools: bool = True
    calls: bool = True
    """Calls of tools and their results."""
    arguments_as_text: bool = False
    """Arguments of a call are given as one JSON string, not as a mapping."""
    short_call_ids: bool = False
    """Ids of calls must be nine letters or digits."""


def adapt(
    messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None, abilities: Abilities
) -> tuple[list[Message], list[Message] | None]:
    """`messages` and `tools` as the template can take them.

    What a message becomes depends only on those up to the next answer, so that the beginning of a conversation is
    rewritten alike whether or not its answers follow.

    Raises:
        RowError: the arguments of a call are not JSON.
    """
    said = [_plain(message) for message in messages]
    rewrite = _take_out_thought if abilities.reasoning else _spell_reasoning
    said = [rewrite(message) for message in said]
    listed = [_nested(tool) for tool in tools] if tools else None
    said = _name_calls(said, abilities) if abilities.calls else _spell_calls(said)
    if listed and not abilities.tools:
        said = _spell_tools(said, listed)
        listed = None
    if not abilities.system:
        said = _fold_system(said)
    return said, listed


def split_thought(content: str) -> tuple[str, str]:
    """The thought in <think> tags that an answer begins with (empty if there is none), and the answer behind it."""
    found = _THOUGHT.match(content)
    return (found[1], content[found.end() :]) if found else ("", content)


def _plain(message: Mapping[str, Any]) -> Message:
    kept = {key: value for key, value in message.items() if value is not None and (key != "tool_calls" or value)}
    kept.setdefault("content", "")
    if "tool_calls" in kept:
        kept["tool_calls"] = [_nested(call) for call in kept["tool_calls"]]
    return kept


def _nested(entry: Mapping[str, Any]) -> Message:
    """A tool or a call in OpenAI's form: the function stands in a mapping of its own."""
    if "function" in entry:
        return {"type": "function", **entry}
    outer = {key: entry[key] for key in ("id",) if key in entry}
    inner = {key: value for key, value in entry.items() if key not in ("id", "type")}
    return {**outer, "type": "function", "function": inner}


def _name_calls(said: list[Message], abilities: Abilities) -> list[Message]:
    """Calls with ids and arguments of the kind that the template takes; results with the ids of their calls."""
    number = 0
    waiting: list[str] = []
    renamed: dict[str, str] = {}
    out = []
    for message in said:
        if "tool_calls" in message:
            calls = []
            for call in message["tool_calls"]:
                number += 1
                given = call.get("id")
                id_ = given if given and not abilities.short_call_ids else f"call{number:05d}"
                waiting.append(id_)
                renamed[str(given)] = id_
                calls.append({**call, "id": id_, "function": _with_arguments(call["function"], abilities)})
            message = {**message, "tool_calls": calls}
        elif message["role"] == "tool":
            named = renamed.get(str(message.get("tool_call_id")))
            id_ = named or (waiting[0] if waiting else "call00000")
            if id_ in waiting:
                waiting.remove(id_)
            message = {**message, "tool_call_id": id_}
        out.append(message)
    return out


def _with_arguments(function: Mapping[str, Any], abilities: Abilities) -> Message:
    arguments = function.get("arguments", {})
    if abilities.arguments_as_text:
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


def _spell_calls(said: list[Message]) -> list[Message]:
    """Calls as text in the answer, and their results as text in a user turn."""
    out: list[Message] = []
    after_result = False
    for message in said:
        is_result = message["role"] == "tool"
        if is_result:
            message = {"role": "user", "content": f"<tool_response>\n{message['content']}\n</tool_response>"}
        elif "tool_calls" in message:
            calls = [_spell_call(call["function"]) for call in message["tool_calls"]]
            content = "\n".join([message["content"], *calls] if message["content"] else calls)
            message = {**{k: v for k, v in message.items() if k != "tool_calls"}, "content": content}
        # Results in a row, or a result and a question, are one turn: many templates insist on alternation.
        if after_result and message["role"] == "user":
            out[-1] = {"role": "user", "content": out[-1]["content"] + "\n" + message["content"]}
        else:
            out.append(message)
        after_result = is_result
    return out


def _spell_call(function: Mapping[str, Any]) -> str:
    call = {"name": function["name"], "arguments": _parsed(function.get("arguments", {}))}
    return f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>"


def _take_out_thought(message: Message) -> Message:
    """Thoughts that are spelled in the text, given as such, so that the template writes them its own way."""
    if message["role"] != "assistant" or "reasoning_content" in message:
        return message
    thought, answer = split_thought(message["content"])
    return {**message, "reasoning_content": thought, "content": answer} if thought else message


def _spell_reasoning(message: Message) -> Message:
    if "reasoning_content" not in message:
        return message
    kept = {key: value for key, value in message.items() if key != "reasoning_content"}
    return {**kept, "content": f"<think>\n{message['reasoning_content']}\n</think>\n\n{message['content']}"}


def _spell_tools(said: list[Message], tools: list[Message]) -> list[Message]:
    lines = [json.dumps(tool["function"], ensure_ascii=False) for tool in tools]
    text = "\n".join(
        [
            "You can call these tools:",
            *lines,
            "To call one, answer with its name and arguments as JSON:",
            '<tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>',
        ]
    )
    if said and said[0]["role"] == "system":
        return [{**said[0], "content": f"{said[0]['content']}\n\n{text}"}, *said[1:]]
    return [{"role": "system", "content": text}, *said]


def _fold_system(said: list[Message]) -> list[Message]:
    """System texts at the head of the user turn that follows; where an answer follows, a user turn of their own."""
    out: list[Message] = []
    pending: list[str] = []
    for message in said:
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
