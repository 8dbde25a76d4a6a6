"""Finds out what a chat template can write, by giving it conversations whose words are easy to find again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from burnish.data.chat_template import ChatTemplate
from burnish.data.messages import Abilities, Message, adapt
from burnish.data.row import RowError
from burnish.data.tokens import Tokens

SYSTEM, QUESTION, ANSWER = "zqsystemzq", "zqquestionzq", "zqanswerzq"
_NAME, _ABOUT, _VALUE, _RESULT, _THOUGHTS = "zqnamezq", "zqaboutzq", "zqvaluezq", "zqresultzq", "zqthoughtzq"
_LONG_ID = "call_0123456789abcdefghijklmn"

PLAIN: list[Message] = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]
_TOOLS: list[Message] = [
    {
        "type": "function",
        "function": {
            "name": _NAME,
            "description": _ABOUT,
            "parameters": {"type": "object", "properties": {"key": {"type": "string", "description": "a key"}}},
        },
    }
]
_THOUGHT: list[Message] = [PLAIN[0], {**PLAIN[1], "reasoning_content": _THOUGHTS}]
_CALL: list[Message] = [
    PLAIN[0],
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": _LONG_ID, "type": "function", "function": {"name": _NAME, "arguments": {"key": _VALUE}}}],
    },
]
_CALLS: list[Message] = [
    *_CALL,
    {"role": "tool", "name": _NAME, "tool_call_id": _LONG_ID, "content": _RESULT},
    PLAIN[1],
]


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found: abilities, the tokens that can end an answer (EOS first), and notes in plain words."""

    abilities: Abilities
    end_ids: list[int]
    notes: list[str]
    header: str
    """What the template itself writes between a prompt and its answer, so that the model learns to write it; empty
    where that is nothing but blanks."""


def probe_template(template: ChatTemplate, tokens: Tokens) -> Findings:
    """Abilities of `template`.

    Raises:
        RowError: it refuses even one question and one answer.
    """
    header = _header(template)
    abilities, notes = Abilities(), _notes_on_plain(header)
    if not _writes(template, [{"role": "system", "content": SYSTEM}, PLAIN[0]], None, [SYSTEM, QUESTION]):
        abilities = replace(abilities, system=False)
        notes.append("the template has no system role: system text is put at the head of the next user message")
    if not _writes(template, _THOUGHT, None, [_THOUGHTS, ANSWER]):
        abilities = replace(abilities, reasoning=False)
    if not _writes(template, PLAIN[:1], _TOOLS, [_NAME, _ABOUT, QUESTION]):
        abilities = replace(abilities, tools=False)
        notes.append("the template has no list of tools: tools are listed in the system text, one JSON line each")
    tools = _TOOLS if abilities.tools else None
    calls = _call_abilities(template, tools, abilities)
    if calls is None:
        notes.append("the template has no tool calls: calls and their results are written as text, in JSON")
    abilities = calls or replace(abilities, calls=False)
    if template.fixed_date:
        notes.append(f"the template writes today's date: {template.fixed_date} is written, so that runs repeat")
    return Findings(abilities, _end_ids(template, tokens, abilities, tools), notes, header or "")


def _header(template: ChatTemplate) -> str | None:
    """What the template writes behind its prompt and before an answer; None where it opens a thought there."""
    prompt = template.render(PLAIN[:1], None, answer_next=True)
    whole = template.render(PLAIN, None, answer_next=False)
    if not whole.startswith(prompt):
        return None
    header = whole[len(prompt) :].partition(ANSWER)[0]
    return header if header.strip() else ""


def _notes_on_plain(header: str | None) -> list[str]:
    if header is None:
        return ["the template opens a thought before each answer: where the data has none, an empty one is trained"]
    if header:
        return [f"the template itself writes {header!r} before an answer: the model learns to write it too"]
    return []


def _writes(
    template: ChatTemplate, messages: Sequence[Message], tools: list[Message] | None, words: Sequence[str]
) -> bool:
    answer_next = messages[-1]["role"] != "assistant"
    try:
        text = template.render(messages, tools, answer_next)
    except RowError:
        return False
    return all(word in text for word in words)


def _call_abilities(template: ChatTemplate, tools: list[Message] | None, abilities: Abilities) -> Abilities | None:
    """The first way of giving calls that comes out whole, or None."""
    for short_ids in (False, True):
        for as_text in (False, True):
            tried = replace(abilities, arguments_as_text=as_text, short_call_ids=short_ids)
            messages, _ = adapt(_CALLS, None, tried)
            try:
                text = template.render(messages, tools, answer_next=False)
            except RowError:
                continue
            # A mapping printed as Python would, or a JSON string quoted once more, is not what a model should write.
            garbled = any(sign + _VALUE in text for sign in ("'", '\\"'))
            if not garbled and all(word in text for word in (_NAME, _VALUE, _RESULT, ANSWER)):
                return tried
    return None


def _end_ids(template: ChatTemplate, tokens: Tokens, abilities: Abilities, tools: list[Message] | None) -> list[int]:
    ends = [] if tokens.eos_id is None else [tokens.eos_id]
    tails = [template.render(PLAIN, None, answer_next=False).rpartition(ANSWER)[2]]
    if abilities.calls:
        messages, _ = adapt(_CALL, None, abilities)
        # Some templates insist that a result follows; the end of plain answers must do then.
        with suppress(RowError):
            tails.append(template.render(messages, tools, answer_next=False).rpartition(_VALUE)[2])
    for tail in tails:
        marker = tokens.first_marker(tail) if tail else None
        if marker is not None and marker not in ends:
            ends.append(marker)
    return ends
