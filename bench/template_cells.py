"""One conversation under one chat template: what should be learned, found without the encoder, and what is.

The expected text of an answer is what the template itself writes: its rendering up to the answer less its rendering of
the prompt. Where the two part, rules of their own hold (see `_follows`). All forms in which templates take thoughts
and arguments are tried.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import product
from typing import Any

from burnish.data.chat.format import ChatFormat
from burnish.data.chat.probe import message_keys
from burnish.data.rows.records import ChatRecord
from burnish.data.rows.row import IGNORED, RowError
from burnish.errors import BurnishError

# the encoder writes this day instead of today
_DAY = date(2026, 1, 1)
_DATE = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")
Messages = list[dict[str, Any]]

_BOOK = {
    "type": "function",
    "function": {
        "name": "book_seat",
        "description": "Books a seat on a train",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "where to"}, "day": {"type": "string"}},
            "required": ["city", "day"],
        },
    },
}
THOUGHT, LATER_THOUGHT = "Redwoods grow far taller than oaks.", "The seat is free, so it is booked."


def _call(id_: str, city: str, day: str) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": "book_seat", "arguments": {"city": city, "day": day}}}


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _answer(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


_TREE, _RED = _user("Which tree is the tallest?"), _answer("The coast redwood.")
_ASKED = _user("A seat to Lisbon on Monday, one to Porto on Friday.")
_CALLS = _answer("", tool_calls=[_call("call00001", "Lisbon", "Monday"), _call("call00002", "Porto", "Friday")])
_ONE = _answer("", tool_calls=[_call("call00001", "Lisbon", "Monday")], reasoning_content=THOUGHT)
_RESULT = {"role": "tool", "name": "book_seat", "tool_call_id": "call00001", "content": "seat 12"}
_DONE = _answer("All is booked.")

CELLS: dict[str, tuple[Messages, list[dict[str, Any]] | None]] = {
    "plain": ([_TREE, _RED], None),
    "system": ([{"role": "system", "content": "Answer in one line."}, _TREE, _RED], None),
    "multi-turn": ([_TREE, _RED, _user("And the second?"), _answer("The Sitka spruce.")], None),
    "tools": ([_ASKED, _CALLS, _RESULT, {**_RESULT, "tool_call_id": "call00002"}, _DONE], [_BOOK]),
    "thoughts": ([_TREE, {**_RED, "reasoning_content": THOUGHT}], None),
    "thought + call": ([_ASKED, _ONE, _RESULT, {**_DONE, "reasoning_content": LATER_THOUGHT}], [_BOOK]),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """`right`: what the template itself writes; `as text`: the template has no form for it, and plain text replaces it;
    `left out`: it has no place for the thought, which a note says; `refused`; `WRONG`."""

    state: str
    reason: str
    is_rendered: bool
    """Whether the template itself writes everything in the conversation."""


def try_cell(tokenizer: Any, cell: str, ends: Sequence[str], kwargs: dict[str, Any]) -> Outcome:
    """The outcome of a cell for a tokenizer with its template.

    Args:
        tokenizer: has the template.
        cell: a name in `CELLS`.
        ends: texts of the tokens that may end an answer of this model.
        kwargs: for the template.
    """
    messages, tools = CELLS[cell]
    chat_tokenizer, tokenizer = tokenizer, copy.deepcopy(tokenizer)
    tokenizer.chat_template = _undated(tokenizer.chat_template)
    forms = [form for form in _forms(messages) if _renders(tokenizer, form, messages, tools, kwargs)]
    try:
        chat_format, learned, refused = _learned(
            chat_tokenizer, ChatRecord(tuple(messages), _frozen(tools), "rows:1"), kwargs
        )
    except (RowError, BurnishError) as error:
        reason = f"{error}: {error.why}" if isinstance(error, BurnishError) else str(error)
        return Outcome("refused", " ".join(reason.split()), bool(forms))
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    if len(learned) != len(answers):
        return Outcome("refused", "; ".join(refused) or "an answer is not learned", bool(forms))
    for form in forms:
        pairs = zip(answers, learned, strict=True)
        if all(_is_right(tokenizer, form, messages, tools, kwargs, index, ends, got) for index, got in pairs):
            return Outcome("right", "", True)
    # a thought that the template leaves out, in the place that it opens or has for thoughts elsewhere
    bare = next(iter(_forms([{**message, "reasoning_content": ""} for message in messages])))
    pairs = zip(answers, learned, strict=True)
    if all(_is_right(tokenizer, bare, messages, tools, kwargs, index, ends, got) for index, got in pairs):
        return Outcome("right", "", bool(forms))
    if not forms:
        return _without_form(chat_format, messages, answers, learned, ends)
    return Outcome("WRONG", " || ".join(text for _, text in learned), True)


def _undated(template: Any) -> Any:
    if isinstance(template, dict):
        return {name: _undated(text) for name, text in template.items()}
    return _DATE.sub(lambda asked: repr(_DAY.strftime(asked[2])), template)


def _without_form(
    chat_format: ChatFormat, messages: Messages, answers: list[int], learned: list[tuple[str, str]], ends: Sequence[str]
) -> Outcome:
    """The outcome where the template cannot write everything: the encoder writes it as text, or says what it drops."""
    says_dropped = any(
        "thought" in note and "left out" in note for note in chat_format.notes_on(message_keys(messages))
    )
    state = "as text"
    for index, (_, text) in zip(answers, learned, strict=True):
        parts = _parts(messages[index])
        if not _has(text, parts) and says_dropped and "reasoning_content" in messages[index]:
            parts, state = parts[1:], "left out"
        if not (_has(text, parts) and text.endswith(tuple(ends))):
            return Outcome("WRONG", " || ".join(text for _, text in learned), False)
    return Outcome(state, "", False)


def _frozen(tools: Any) -> Any:
    return tuple(tools) if tools else None


def _learned(
    tokenizer: Any, record: ChatRecord, kwargs: dict[str, Any]
) -> tuple[ChatFormat, list[tuple[str, str]], list[str]]:
    """(prompt, learned text) of each answer from the labels of the examples, and why others are not learned."""
    chat_format = ChatFormat(tokenizer, kwargs=kwargs) if kwargs else ChatFormat(tokenizer)
    found = []
    encoded = chat_format.encode(record, 100_000)
    for example in encoded.examples:
        ids, labels = list(example.input_ids), list(example.labels)
        at = 0
        while at < len(ids):
            end = at
            while end < len(ids) and labels[end] != IGNORED:
                end += 1
            if end > at:
                found.append((tokenizer.decode(ids[:at]), tokenizer.decode(ids[at:end])))
            at = max(end, at + 1)
    return chat_format, found, encoded.refused


def _forms(messages: Messages) -> Iterator[Messages]:
    """The conversation with thoughts and arguments in each form that templates read."""
    has_thought = any("reasoning_content" in message for message in messages)
    for thought in (
        ("reasoning_content", "reasoning", "thinking", "part", "blocks", "text", "none") if has_thought else ("none",)
    ):
        for as_text, is_null in product((False, True), repeat=2):
            yield [_formed(message, thought, as_text, is_null) for message in messages]


def _formed(message: dict[str, Any], thought: str, as_text: bool, is_null: bool) -> dict[str, Any]:
    out = {key: value for key, value in message.items() if key != "reasoning_content"}
    thought_text = message.get("reasoning_content")
    if thought_text and thought == "part":
        out["content"] = [{"type": "thinking", "thinking": thought_text}, {"type": "text", "text": message["content"]}]
    elif thought == "blocks" and message["role"] == "assistant":
        blocks = [("thoughts", thought_text), ("response", message["content"])]
        out["content"] = {"blocks": [{"type": name, "text": text} for name, text in blocks if text]}
    elif thought_text and thought == "text":
        out["content"] = f"<think>\n{thought_text}\n</think>\n\n{message['content']}"
    elif thought_text and thought not in ("none", "blocks"):
        out[thought] = thought_text
    if is_null and "tool_calls" in out and not out["content"]:
        out["content"] = None
    if as_text and "tool_calls" in out:
        calls = [(call, call["function"]) for call in out["tool_calls"]]
        out["tool_calls"] = [
            {**call, "function": {**function, "arguments": json.dumps(function["arguments"])}}
            for call, function in calls
        ]
    return out


def _render(tokenizer: Any, form: Messages, tools: Any, kwargs: dict[str, Any], answer_next: bool) -> str | None:
    try:
        return str(
            tokenizer.apply_chat_template(
                form, tools=tools, tokenize=False, add_generation_prompt=answer_next, **kwargs
            )
        )
    except Exception:  # noqa: BLE001  a template is a program, and may fail in any way
        return None


def _renders(tokenizer: Any, form: Messages, messages: Messages, tools: Any, kwargs: dict[str, Any]) -> bool:
    """Whether the template writes all of every answer, and every turn before the last answer."""
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = _render(tokenizer, form[:index], tools, kwargs, True)
        whole = _render(tokenizer, form[: index + 1], tools, kwargs, False)
        if (
            prompt is None
            or whole is None
            or any(sign in whole for sign in ('\\"city', "'city': '", "'type': 'thinking'", '"type": "thinking"'))
        ):
            return False
        if not all(
            _squeezed(other["content"]) in _squeezed(prompt) for other in messages[:index] if other["role"] != "tool"
        ):
            return False
        if tools and tools[0]["function"]["description"] not in prompt:
            return False
        opens = _opened(prompt) is not None
        parts = _parts(message)
        if opens and "tool_calls" not in message and "reasoning_content" in message and parts[0] not in whole:
            parts = parts[1:]
        rest = whole[_common(prompt, whole) :]
        # two thoughts are none
        if not _has(rest, parts) or (
            parts
            and any(shut in rest.partition(parts[0])[0] for shut in _OPENS.values() if "reasoning_content" in message)
        ):
            return False
    return True


def _common(one: str, other: str) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _parts(message: dict[str, Any]) -> list[str]:
    """What an answer must contain, in order."""
    parts = [message["reasoning_content"]] if "reasoning_content" in message else []
    parts += [message["content"]] if message["content"] else []
    for call in message.get("tool_calls", []):
        parts += [call["function"]["name"], *call["function"]["arguments"].values()]
    return parts


def _has(text: str, parts: Sequence[str]) -> bool:
    """Whether the parts stand in a text once each, one after the other (names of tools come again with each call)."""
    at = 0
    for part in parts:
        found = text.find(part, at)
        if found < 0 or (part != "book_seat" and text.count(part) != 1):
            return False
        at = found + len(part)
    return True


def _squeezed(text: str) -> str:
    return "".join(text.split())


_OPENS = {
    "<think>": "</think>",
    "[THINK]": "[/THINK]",
    "<seed:think>": "</seed:think>",
    "<thinking>": "</thinking>",
    "<|channel>thought": "<channel|>",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "Here are my reasoning steps:": "[BEGIN FINAL RESPONSE]",
}


def _opened(prompt: str) -> str | None:
    """The tag that closes the thought which a prompt opens at its end; None if it opens none."""
    return next((shut for tag, shut in _OPENS.items() if prompt.rstrip().endswith(tag)), None)


def _is_right(
    tokenizer: Any,
    form: Messages,
    messages: Messages,
    tools: Any,
    kwargs: dict[str, Any],
    index: int,
    ends: Sequence[str],
    got: tuple[str, str],
) -> bool:
    """Whether the learned text of the answer at `index` follows the prompt of inference as the template writes it."""
    prompt, learned = got
    asked = _render(tokenizer, form[:index], tools, kwargs, True) or ""
    whole = _render(tokenizer, form[: index + 1], tools, kwargs, False) or ""
    if prompt not in (asked, (tokenizer.bos_token or "") + asked):
        return False
    end = next((mark for mark in ends if learned.endswith(mark)), None)
    thought = messages[index].get("reasoning_content", "")
    has_all = end is not None and _has(learned, _parts(messages[index]))
    earlier = [text for message in messages[:index] for text in (message["content"], message.get("reasoning_content"))]
    if any(text and text in learned for text in earlier):
        return False
    return has_all and _follows(tokenizer, asked, whole, learned, str(end), ends, thought)


def _follows(tokenizer: Any, asked: str, whole: str, learned: str, end: str, ends: Sequence[str], thought: str) -> bool:
    """Whether `learned` is what `whole` holds after `asked`, up to the end of the answer."""
    body = learned.removesuffix(end).rstrip()

    def is_rest(text: str) -> bool:
        left = text[len(body) :] if text.startswith(body) else "x"
        # a template may end a conversation with the beginning of the next answer
        for mark in (*ends, *(str(token) for token in tokenizer.added_tokens_decoder.values())):
            left = left.replace(mark, "")
        return not left.strip()

    if thought and whole.count(thought) == 0:
        body = _without_thought(body, thought, asked)
    shut = _opened(asked)
    if whole.startswith(asked):
        return is_rest(whole[len(asked) :])
    if shut is not None:
        # the prompt opens a thought that the template leaves out of the answer: thought, closing tag, answer
        tag = next(tag for tag, close in _OPENS.items() if close == shut)
        begun = asked.rstrip().removesuffix(tag)
        if body.lstrip().startswith(tag):
            return False
        if whole.startswith(begun) and is_rest(whole[len(begun) :].removeprefix(tag)):
            return True
        body = body.partition(shut)[2].strip()
        return bool(body) and is_rest(whole[max(whole.rfind(body), 0) :])
    at = whole.rfind(body)
    if at < 0 or not is_rest(whole[at:]):
        return False
    before = whole[:at]
    shared = next((size for size in range(1, len(asked) + 1) if not before.endswith(asked[-size:])), len(asked) + 1) - 1
    if shared >= min(len(asked), 8):
        return True
    if asked.startswith(before) and asked[len(before) :] in before:
        return True  # the conversation goes on in a turn that the prompt opens again
    # the prompt ends with an empty thought, which the template leaves out of the answer, in full or but for its end
    empty = re.search("|".join(rf"{re.escape(tag)}\s*{re.escape(close)}\s*$" for tag, close in _OPENS.items()), asked)
    if empty is None:
        return False
    begun = asked[: empty.start()]
    closes = ["", *_OPENS.values()]
    return any(before.rstrip().endswith((begun + close).strip()[-30:]) for close in closes) and "think" not in body


def _without_thought(body: str, thought: str, asked: str) -> str:
    """An answer without a thought that the template leaves out: in the empty thought that it writes itself, behind the
    prompt that opens it, or with its tags in front."""
    if _opened(asked) is not None and body.startswith(thought):
        return body[len(thought) :]
    for tag, close in _OPENS.items():
        found = re.match(rf"{re.escape(tag)}(\s*){re.escape(thought)}(\s*){re.escape(close)}", body)
        if found:
            rest = body[found.end() :]
            return f"{tag}{found[1]}{found[2]}{close}{rest}" if tag == "<think>" else rest
    return body
