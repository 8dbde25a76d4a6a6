"""Chat templates: what one supports, messages adapted to it and rendered, and ChatML for tokenizers without one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from importlib.resources import files
from typing import Any

from jinja2 import TemplateError

from burnish.data.rows.row import RowError
from burnish.data.tokens.tokens import Tokens, single_token_id
from burnish.errors import ModelError

Message = dict[str, Any]
_THOUGHT_BLOCK = re.compile(r"\s*<think>\s*(.*?)\s*</think>\s*", re.DOTALL)


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
    found = _THOUGHT_BLOCK.match(content)
    return (found[1], content[found.end() :]) if found else ("", content)


def _plain(message: Mapping[str, Any]) -> Message:
    kept = {key: value for key, value in message.items() if value is not None and (key != "tool_calls" or value)}
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
            # a result without a call still needs an id of the required form
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


TURN_END = "<|im_end|>"
_OWN_END = f'{{%- set answer_end = "{TURN_END}" %}}'
_EOS_END = "{%- set answer_end = eos_token %}"


def ensure_template(tokenizer: Any) -> bool:
    """Gives `tokenizer` the ChatML template if it has none; returns whether it had none.

    The template is set on the tokenizer, so it is saved with it. If `<|im_end|>` is one token of the vocabulary, every
    turn ends with it. Otherwise (GPT-2, for example) the vocabulary is not changed and answers end with the tokenizer's
    EOS instead: a model does not learn to stop from a marker of several ordinary tokens. If the tokenizer adds BOS to
    texts, the template writes it, because other tools that render the template do not add it.

    Raises:
        ModelError: the tokenizer has neither `<|im_end|>` nor EOS, so no token could end an answer.
    """
    if tokenizer.chat_template:
        return False
    template = chatml()
    if single_token_id(tokenizer, TURN_END) is None:
        if tokenizer.eos_token is None:
            raise ModelError(
                "the tokenizer has no end-of-sequence token",
                "Without one the model cannot learn where an answer ends.",
                "Set `eos_token` in the model's tokenizer_config.json",
            )
        template = template.replace(_OWN_END, _EOS_END)
    if tokenizer.bos_token_id is not None and Tokens(tokenizer).lead == [tokenizer.bos_token_id]:
        template = "{{- bos_token }}" + template
    tokenizer.chat_template = template
    return True


def chatml() -> str:
    """The text of the ChatML template in which every turn ends with `<|im_end|>`."""
    return (files("burnish") / "models" / "chatml.jinja").read_text(encoding="utf-8")


# A fixed date: a template that writes today's date would give different tokens on another day, and a resumed run would
# give different bytes.
_TODAY = date(2026, 1, 1)
_ASKS_TODAY = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")
# A template is a program: on messages that it does not expect, it may fail in any of these ways.
_TEMPLATE_ERRORS = (TemplateError, TypeError, ValueError, LookupError, AttributeError)


class ChatTemplate:
    """Renders messages with a tokenizer's own template."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._is_dated = "strftime_now" in str(tokenizer.chat_template)

    @property
    def fixed_date(self) -> str | None:
        """The date written instead of today's, if the template uses today's date."""
        return _TODAY.isoformat() if self._is_dated else None

    def render(self, messages: Sequence[Message], tools: list[Message] | None, answer_next: bool) -> str:
        """The text of `messages`; with `answer_next`, including the prompt for the next answer.

        Raises:
            RowError: the template rejects these messages; the error includes its own message.
        """
        try:
            text = self._tokenizer.apply_chat_template(
                list(messages),
                tools=tools,
                chat_template=self._dateless(tools) if self._is_dated else None,
                tokenize=False,
                add_generation_prompt=answer_next,
            )
        except _TEMPLATE_ERRORS as error:
            raise RowError(f"the chat template rejects the conversation: {error}") from error
        return str(text)

    def _dateless(self, tools: list[Message] | None) -> str:
        source = self._tokenizer.get_chat_template(tools=tools)
        return _ASKS_TODAY.sub(lambda asked: repr(_TODAY.strftime(asked[2])), source)


# The contents of the probes are words that no template contains: one found in a rendered text was taken from a message.
SYSTEM, QUESTION, ANSWER = "zqsystemzq", "zqquestionzq", "zqanswerzq"
_NAME, _ABOUT, _VALUE, _RESULT, _THOUGHTS = "zqnamezq", "zqaboutzq", "zqvaluezq", "zqresultzq", "zqthoughtzq"
# too long for templates that require ids of nine letters or digits
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
class TemplateProbe:
    """The result of the probe: features, the tokens that may end an answer (EOS first), and notes for the user."""

    features: TemplateFeatures
    end_ids: list[int]
    notes: list[str]
    header: str
    """Text that the template writes between a prompt and its answer, so that the model learns to write it; empty if it
    is only whitespace."""


def probe_template(template: ChatTemplate, tokens: Tokens) -> TemplateProbe:
    """Probes what `template` supports, by rendering marked messages.

    Raises:
        RowError: it rejects even one question with one answer.
    """
    header = _header(template)
    features, notes = TemplateFeatures(), _notes_on_plain(header)
    if not _writes(template, [{"role": "system", "content": SYSTEM}, PLAIN[0]], None, [SYSTEM, QUESTION]):
        features = replace(features, system=False)
        notes.append("the template has no system role: the system text is put at the start of the next user message")
    if not _writes(template, _THOUGHT, None, [_THOUGHTS, ANSWER]):
        features = replace(features, reasoning=False)
    if not _writes(template, PLAIN[:1], _TOOLS, [_NAME, _ABOUT, QUESTION]):
        features = replace(features, tools=False)
        notes.append("the template does not list tools: they are listed in the system text, one JSON line each")
    tools = _TOOLS if features.tools else None
    calls = _call_features(template, tools, features)
    if calls is None:
        notes.append("the template does not support tool calls: calls and their results are written as JSON text")
    features = calls or replace(features, calls=False)
    if template.fixed_date:
        notes.append(
            f"the template writes today's date: {template.fixed_date} is used instead, so that runs are reproducible"
        )
    return TemplateProbe(features, _end_ids(template, tokens, features, tools), notes, header or "")


def _header(template: ChatTemplate) -> str | None:
    """Text that the template writes after the prompt and before an answer; None if it opens a thought there."""
    prompt = template.render(PLAIN[:1], None, answer_next=True)
    whole = template.render(PLAIN, None, answer_next=False)
    if not whole.startswith(prompt):
        return None
    header = whole[len(prompt) :].partition(ANSWER)[0]
    return header if header.strip() else ""


def _notes_on_plain(header: str | None) -> list[str]:
    if header is None:
        return [
            "the template opens a thinking block before each answer: if the data has none, an empty one is trained on"
        ]
    if header:
        return [f"the template writes {header!r} before an answer: the model learns to write it too"]
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


def _call_features(
    template: ChatTemplate, tools: list[Message] | None, features: TemplateFeatures
) -> TemplateFeatures | None:
    """The first form of calls that the template renders completely, or None."""
    for short_ids in (False, True):
        for as_text in (False, True):
            tried = replace(features, arguments_as_text=as_text, short_call_ids=short_ids)
            messages, _ = adapt(_CALLS, None, tried)
            try:
                text = template.render(messages, tools, answer_next=False)
            except RowError:
                continue
            # Arguments as a Python dict or as an escaped JSON string are not what a model should learn to write.
            is_garbled = any(sign + _VALUE in text for sign in ("'", '\\"'))
            if not is_garbled and all(word in text for word in (_NAME, _VALUE, _RESULT, ANSWER)):
                return tried
    return None


def _end_ids(
    template: ChatTemplate, tokens: Tokens, features: TemplateFeatures, tools: list[Message] | None
) -> list[int]:
    ends = [] if tokens.eos_id is None else [tokens.eos_id]
    tails = [template.render(PLAIN, None, answer_next=False).rpartition(ANSWER)[2]]
    if features.calls:
        messages, _ = adapt(_CALL, None, features)
        # Some templates require a result after a call; then only the end of plain answers is known.
        with suppress(RowError):
            tails.append(template.render(messages, tools, answer_next=False).rpartition(_VALUE)[2])
    for tail in tails:
        marker = tokens.first_marker(tail) if tail else None
        if marker is not None and marker not in ends:
            ends.append(marker)
    return ends
