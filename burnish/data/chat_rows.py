"""Rows of conversations, and of questions with their answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.data.columns import as_text
from burnish.data.conversations import Message, read_message, read_messages, read_tools, through_last_answer
from burnish.data.patterns import Pattern, pick
from burnish.data.records import ChatRecord
from burnish.data.row import RowError


def conversation_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> ChatRecord:
    """A row that holds a list of messages. Raises RowError where nothing can be learned from it."""
    name, value = pick(values, pattern.required[0])
    messages = with_system(values, read_messages(value, name))
    return ChatRecord(messages, read_tools(values.get("tools")), place)


def answer_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> ChatRecord:
    """A row with a question and an answer in columns of their own. Raises RowError where one is missing."""
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
    """A prompt or a completion that is itself a list of messages. Raises RowError as `read_messages` does."""
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
    """The messages, begun by the row's `system` column where it has one and they do not begin so themselves."""
    system = as_text(values.get("system"), "system")
    if not system or not system.strip() or messages[0]["role"] == "system":
        return messages
    return ({"role": "system", "content": system}, *messages)
