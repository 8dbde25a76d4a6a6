"""A tokenizer's chat template: messages to text, the default where there is none, and what a template can write."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from importlib.resources import files
from typing import Any

from jinja2 import TemplateError

from burnish.data.chat.messages import Abilities, Message, adapt
from burnish.data.rows.row import RowError
from burnish.data.tokens.tokens import Tokens, single_token_id
from burnish.errors import ModelError

TURN_END = "<|im_end|>"
_OWN_END = f'{{%- set answer_end = "{TURN_END}" %}}'
_EOS_END = "{%- set answer_end = eos_token %}"


def ensure_template(tokenizer: Any) -> bool:
    """Give `tokenizer` the ChatML template if it has none; True if it had none.

    The template is set on the tokenizer, so it is saved with it. Where `<|im_end|>` is one token of the vocabulary,
    every turn ends with it. Where it is not (GPT-2, say), the vocabulary is left as it is and answers end with
    the tokenizer's EOS instead: a marker of several plain tokens would teach no model to stop. Where the tokenizer
    begins texts with BOS by itself, so does the template, because whoever renders it later adds none.

    Raises:
        ModelError: the tokenizer has neither `<|im_end|>` nor an EOS, so that no answer could end.
    """
    if tokenizer.chat_template:
        return False
    template = chatml()
    if single_token_id(tokenizer, TURN_END) is None:
        if tokenizer.eos_token is None:
            raise ModelError(
                "the tokenizer has no end-of-sequence token",
                "without one the model cannot learn where an answer ends",
                "set `eos_token` in the model's tokenizer_config.json",
            )
        template = template.replace(_OWN_END, _EOS_END)
    if tokenizer.bos_token_id is not None and Tokens(tokenizer).lead == [tokenizer.bos_token_id]:
        template = "{{- bos_token }}" + template
    tokenizer.chat_template = template
    return True


def chatml() -> str:
    """The text of the ChatML template whose turns all end with `<|im_end|>`."""
    return (files("burnish") / "models" / "chatml.jinja").read_text(encoding="utf-8")


# Templates that write today's date would give other tokens on another day, and a resumed run other bytes.
_TODAY = date(2026, 1, 1)
_ASKS_TODAY = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")
_REFUSALS = (TemplateError, TypeError, ValueError, LookupError, AttributeError)


class ChatTemplate:
    """Renders messages with a tokenizer's own template."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._is_dated = "strftime_now" in str(tokenizer.chat_template)

    @property
    def fixed_date(self) -> str | None:
        """The date that is written instead of today's, where the template asks for today's."""
        return _TODAY.isoformat() if self._is_dated else None

    def render(self, messages: Sequence[Message], tools: list[Message] | None, answer_next: bool) -> str:
        """The text of `messages`; with `answer_next`, up to where the next answer begins.

        Raises:
            RowError: the template refuses these messages; its own message is given.
        """
        try:
            text = self._tokenizer.apply_chat_template(
                list(messages),
                tools=tools,
                chat_template=self._dateless(tools) if self._is_dated else None,
                tokenize=False,
                add_generation_prompt=answer_next,
            )
        except _REFUSALS as refusal:
            raise RowError(f"the chat template refuses the conversation: {refusal}") from refusal
        return str(text)

    def _dateless(self, tools: list[Message] | None) -> str:
        source = self._tokenizer.get_chat_template(tools=tools)
        return _ASKS_TODAY.sub(lambda asked: repr(_TODAY.strftime(asked[2])), source)


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
