"""Messages in the form that a chat template supports, and templates rendered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError, nodes

from burnish.data.chat.as_text import (
    Message,
    calls_as_text,
    fold_system,
    join_system,
    move_system,
    parsed_arguments,
    tools_as_text,
)
from burnish.data.chat.own_template import named_templates, parsed, template_variables
from burnish.data.rows.row import RowError
from burnish.errors import ModelError
from burnish.system.limits import LimitedMemory, TooSlow, limited_time
from burnish.system.machine import memory_size

_THOUGHT_BLOCK = re.compile(r"\s*<think>\s*(.*?)\s*</think>\s*", re.DOTALL)
_START, _END = "<think>", "</think>"
_BEFORE_A_QUOTED_TAG, _AFTER_A_QUOTED_TAG = " \t`'\"(", " \t`'\").,;:!?"
"""Characters around a tag that an answer writes about, rather than ends its thought with."""

THOUGHT_FIELDS = ("reasoning_content", "reasoning", "thinking", "tool_plan")
"""Keys of a message under which templates read a thought."""
PARTS, BLOCKS, TEXT = "parts", "blocks", "text"
"""Other forms of a thought: a part of the content; a block of it; <think> tags at the beginning of the text."""
INSERTED, CLOSED, DROPPED = "inserted", "closed", "dropped"
"""The template leaves the thought out: it is put where the template opens or writes an empty one; it has no place,
because the prompt ends with an empty thought; it has no place at all."""

_SHOWN = 40
"""Characters of a text in an error."""
_SPECIAL = dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), "")
"""What a template may write beside the messages, while the tokenizer is not loaded."""


@dataclass(frozen=True, slots=True)
class TemplateFeatures:
    """What a chat template supports. The rest is written as plain text into supported turns."""

    system: bool = True
    joins_system: bool = False
    """Whether it takes one system text alone, so that several in a row become one."""
    moves_system: bool = False
    """Whether it takes system texts at the beginning only, so that later ones become part of a user turn."""
    thoughts: str = "reasoning_content"
    """The form of a thought before an answer in words: one of `THOUGHT_FIELDS`, or of the forms above."""
    call_thoughts: str = "reasoning_content"
    """The form of a thought before a call."""
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
    listed = [_nested(tool) for tool in tools] if tools else None
    forms = [features.call_thoughts if "tool_calls" in message else features.thoughts for message in adapted]
    adapted = [_extract_thought(message, form) for message, form in zip(adapted, forms, strict=True)]
    if features.calls:
        adapted = _name_calls(adapted, features)
        adapted = [_with_thought(message, form) for message, form in zip(adapted, forms, strict=True)]
    else:
        adapted = [_with_thought(message, features.thoughts) for message in calls_as_text(adapted)]
    if listed and not features.tools:
        adapted = tools_as_text(adapted, listed)
        listed = None
    if not features.system:
        adapted = fold_system(adapted)
        return adapted, listed
    if features.moves_system:
        adapted = move_system(adapted)
    if features.joins_system:
        adapted = join_system(adapted)
    return adapted, listed


def _plain(message: Mapping[str, Any]) -> Message:
    kept = {key: value for key, value in message.items() if value is not None and (key != "tool_calls" or value)}
    kept.pop("weight", None)
    kept.setdefault("content", "")
    if "tool_calls" in kept:
        kept["tool_calls"] = [_nested(call) for call in kept["tool_calls"]]
    return kept


def _nested(entry: Mapping[str, Any]) -> Message:
    """A tool or a call in OpenAI's form, with the function in its own mapping."""
    if "function" in entry:
        return {"type": "function", **entry}
    outer = {key: entry[key] for key in ("id",) if key in entry}
    inner = {key: value for key, value in entry.items() if key not in ("id", "type")}
    return {**outer, "type": "function", "function": inner}


def _name_calls(adapted: list[Message], features: TemplateFeatures) -> list[Message]:
    """Calls with ids and arguments in the form that the template supports; results with the ids of their calls and
    the names of their functions."""
    number = 0
    pending_ids: list[str] = []
    renamed: dict[str, str] = {}
    functions: dict[str, str] = {}
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
                functions[id_] = call["function"]["name"]
                calls.append({**call, "id": id_, "function": _with_arguments(call["function"], features)})
            message = {**message, "tool_calls": calls}
        elif message["role"] == "tool":
            named = renamed.get(str(message.get("tool_call_id")))
            # a result without a call still needs an id of the required form
            id_ = named or (pending_ids[0] if pending_ids else "call00000")
            if id_ in pending_ids:
                pending_ids.remove(id_)
            named_function = {"name": functions[id_]} if id_ in functions else {}
            message = {**named_function, **message, "tool_call_id": id_}
        out.append(message)
    return out


def _with_arguments(function: Mapping[str, Any], features: TemplateFeatures) -> Message:
    arguments = function.get("arguments", {})
    if features.arguments_as_text:
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        return {**function, "arguments": text}
    return {**function, "arguments": parsed_arguments(arguments)}


def split_thought(content: str) -> tuple[str, str]:
    """The thought at the start of an answer (empty if there is none), and the rest of the answer.

    It is in <think> tags. Where the prompt opened them, an answer as it was generated has the closing one alone, and
    all before it is the thought.
    """
    return _split_tagged(content) or _split_unopened(content) or ("", content)


def _split_tagged(content: str) -> tuple[str, str] | None:
    """Thought and answer where the thought is in both tags; None if there is none."""
    found = _THOUGHT_BLOCK.match(content)
    return (found[1], content[found.end() :]) if found else None


def _split_unopened(content: str) -> tuple[str, str] | None:
    """Thought and answer around a closing tag alone; None if there is none, or only one that is written about."""
    before, tag, after = content.partition(_END)
    if not tag or _START in before or not before.strip():
        return None
    is_quoted = before[-1] in _BEFORE_A_QUOTED_TAG or after[:1] in _AFTER_A_QUOTED_TAG
    if is_quoted and not before.endswith("\n") and not after.startswith("\n\n"):
        return None
    return before.strip(), after.lstrip()


def _extract_thought(message: Message, form: str) -> Message:
    """Moves a thought from the text to `reasoning_content`, unless it is to stay in the text.

    Empty tags are no thought: they are left out, since a template writes its own where an answer has none.
    """
    if message["role"] != "assistant":
        return message
    content, given = message["content"], message.get("reasoning_content")
    thought, answer = split_thought(content)
    if answer == content or (given and thought not in ("", given.strip())):
        return message
    if form == TEXT and not given and _split_tagged(content):
        return message
    found = given or thought
    return {**message, **({"reasoning_content": found} if found else {}), "content": answer}


def _with_thought(message: Message, form: str) -> Message:
    """The message with its thought in this form."""
    if message["role"] != "assistant" or form in ("reasoning_content", INSERTED, CLOSED):
        return message
    thought = message.get("reasoning_content")
    bare = {key: value for key, value in message.items() if key != "reasoning_content"}
    if form == BLOCKS:
        # such a template takes either texts or blocks in all answers of a conversation
        blocks = [("thoughts", thought), ("response", message["content"])]
        return {**bare, "content": {"blocks": [{"type": name, "text": text} for name, text in blocks if text]}}
    if not thought or form == DROPPED:
        return bare
    if form == PARTS:
        words = [{"type": "text", "text": message["content"]}] if message["content"] else []
        return {**bare, "content": [{"type": "thinking", "thinking": thought}, *words]}
    if form == TEXT:
        return {**bare, "content": f"<think>\n{thought}\n</think>\n\n{message['content']}"}
    return {**bare, form: thought}


def thought_and_words(message: Mapping[str, Any]) -> tuple[str, str]:
    """The thought and the text of an adapted answer, whatever the form of its thought."""
    content = message.get("content") or ""
    if isinstance(content, str):
        thought = next((message[key] for key in THOUGHT_FIELDS if message.get(key)), "")
        return (thought, content) if thought else _split_tagged(content) or ("", content)
    parts = content["blocks"] if isinstance(content, Mapping) else content
    texts = {part["type"]: part.get("thinking") or part.get("text") or "" for part in parts}
    return texts.get("thinking") or texts.get("thoughts") or "", texts.get("text") or texts.get("response") or ""


def check_answer(body: str, answer: Message) -> None:
    """Checks that the text of an answer has all that the message says.

    Raises:
        RowError: the template omits part of it.
    """
    thought, words = thought_and_words(answer)
    if not contains(body, words):
        raise RowError(f"the chat template omits the text of the answer{_quoting(words)}")
    if thought and not contains(body, thought):
        raise RowError("the chat template omits the thought of the answer")
    calls = [call["function"] for call in answer.get("tool_calls") or []]
    names = [call["name"] for call in calls]
    for call in calls:
        if body.count(call["name"]) < names.count(call["name"]):
            raise RowError(
                f"the chat template omits a call of `{call['name']}`"
                + (": it may write one call a message" if len(calls) > 1 else "")
            )
        for text in _argument_texts(call.get("arguments")):
            if not any(contains(body, spelled) for spelled in (text, *_escaped(text))):
                raise RowError(f"the chat template omits an argument of `{call['name']}`: {text[:_SHOWN]!r}")


def _quoting(words: str) -> str:
    """Why a template may omit the text of an answer: it takes a tag that the answer writes about for its own."""
    if "</think>" not in words:
        return ""
    return ": it takes the `</think>` in it for the end of a thought, so write that tag otherwise, as `&lt;/think&gt;`"


def _argument_texts(value: Any) -> Iterator[str]:
    """The texts in the arguments of a call."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for inner in value:
            yield from _argument_texts(inner)
    elif isinstance(value, str):
        yield value


def _escaped(text: str) -> tuple[str, ...]:
    """The forms in which templates write a text inside JSON or Python."""
    return json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1], repr(text)[1:-1]


def contains(text: str, part: str) -> bool:
    """Whether a text contains a part, ignoring whitespace: templates trim and re-wrap contents."""
    return part.strip() in text or _squeeze(part) in _squeeze(text)


def _squeeze(text: str) -> str:
    return "".join(text.split())


# A fixed date: a template that writes today's date would give different tokens on another day, and a resumed run would
# give different bytes.
_TODAY = date(2026, 1, 1)
_ASKS_TODAY = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")
SECONDS = 1.0
"""Of processor time, for one conversation."""
BYTES = 256 << 20
"""On top of what the process has; only Linux counts it."""
_CHARACTERS, _TIMES = 1 << 20, 20
"""What a template may write by itself, and how often what it is given."""
_MEMORY = LimitedMemory()
# A template is a program: on messages that it does not expect, it may fail in any of these ways.
_TEMPLATE_ERRORS = (
    TemplateError, TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError, SyntaxError
)  # fmt: skip


@contextmanager
def budget() -> Iterator[None]:
    """While entered, templates may take `SECONDS` of processor time and `BYTES` of memory.

    Raises:
        ModelError: a template took more.
    """
    try:
        with _MEMORY.limited(BYTES), limited_time(SECONDS):
            yield
    except TooSlow:
        raise _refused(f"did not finish within {SECONDS:g} s") from None
    except MemoryError:
        raise _refused(f"took more than {memory_size(BYTES)} of memory") from None


def check_length(text: str, messages: Sequence[Mapping[str, Any]]) -> None:
    """Refuses a template that writes far more than it is given: each text would be tokenized and kept.

    Raises:
        ModelError: `text` is longer than any real template makes these messages.
    """
    if len(text) <= _CHARACTERS:
        return
    given = len(json.dumps(messages, ensure_ascii=False, default=str))
    if len(text) > _CHARACTERS + _TIMES * given:
        raise _refused(f"wrote {len(text):,} characters for a conversation of {given:,}")


def check_operators(source: str) -> None:
    """Refuses a template with a power: one such operation may take hours, and cannot be interrupted.

    Raises:
        ModelError: it has one.
    """
    if _has_power(source):
        raise _refused("uses the operator `**`, which could make it run for hours")


@lru_cache(maxsize=64)
def _has_power(source: str) -> bool:
    if "**" not in source:  # which may also be in its text
        return False
    try:
        return parsed(source).find(nodes.Pow) is not None
    except (TemplateSyntaxError, RecursionError):  # it cannot be rendered either
        return False


def _refused(what: str) -> ModelError:
    return ModelError(
        f"the chat template {what}",
        "A chat template is a program that comes with the model, and this one may be malicious.",
        "Use another model, or write a template that you trust into `chat_template.jinja` in a copy of its folder",
    )


def try_template(source: str) -> None:
    """Renders a short conversation, so that a template that does harm is refused before torch is imported.

    Whether it rejects the conversation does not matter here: rows are rendered later, by `ChatTemplate`.

    Raises:
        ModelError: it took more time or memory than any real one, or writes far more.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    check_operators(source)
    asked = [{"role": "user", "content": "How?"}]
    with suppress(*_TEMPLATE_ERRORS):
        with budget():
            texts = render_jinja_template([asked], chat_template=source, add_generation_prompt=True, **_SPECIAL)
        check_length(str(texts), asked)


class ChatTemplate:
    """Renders messages with a tokenizer's own template."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._is_dated = "strftime_now" in str(tokenizer.chat_template)
        for source in named_templates(tokenizer).values():
            check_operators(source)

    @property
    def fixed_date(self) -> str | None:
        """The date written instead of today's, if the template uses today's date."""
        return _TODAY.isoformat() if self._is_dated else None

    def writes(self, messages: Sequence[Message], tools: list[Message] | None, words: Sequence[str]) -> bool:
        """Whether the prompt of the next answer has all these words; not if the template rejects the messages."""
        try:
            text = self.render(messages, tools, answer_next=True)
        except RowError:
            return False
        return all(word in text for word in words)

    def render(self, messages: Sequence[Message], tools: list[Message] | None, answer_next: bool) -> str:
        """The text of `messages`; with `answer_next`, including the prompt for the next answer.

        Raises:
            RowError: the template rejects these messages; the error includes its own message.
            ModelError: it took more time or memory than any real one, or writes far more.
        """
        try:
            with budget():
                text = self._tokenizer.apply_chat_template(
                    list(messages),
                    tools=tools,
                    chat_template=self._dateless(tools) if self._is_dated else None,
                    tokenize=False,
                    add_generation_prompt=answer_next,
                )
        except _TEMPLATE_ERRORS as error:
            raise RowError(f"the chat template rejects the conversation: {error}") from error
        check_length(str(text), [*messages, *(tools or [])])
        try:
            str(text).encode("utf-8")
        except UnicodeEncodeError as error:
            half = f"U+{ord(text[error.start]):04X}"
            raise RowError(f"the chat template writes half of a character, {half}, which is no text") from None
        return str(text)

    def thinking_options(self) -> str:
        """The option with which the user may turn thoughts on, for messages."""
        read = template_variables(str(self._tokenizer.chat_template))
        names = [name for name in read if "think" in name or "reason" in name] or ["enable_thinking"]
        return f"`template.kwargs.{sorted(names)[0]}=true`"

    def _dateless(self, tools: list[Message] | None) -> str:
        source = self._tokenizer.get_chat_template(tools=tools)
        return _ASKS_TODAY.sub(lambda asked: repr(_TODAY.strftime(asked[2])), source)
