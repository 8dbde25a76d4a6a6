"""What a chat template supports and how it ends answers, found by rendering marked messages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from os.path import commonprefix
from typing import Any

from burnish.data.chat.late_system import is_late_system, late_systems, notes_on_late_system, system_features
from burnish.data.chat.spaces import answer_spaces, is_space, notes_on_spaces
from burnish.data.chat.tagged_thoughts import is_tagged_thought, notes_on_tagged_thoughts, tagged_thought
from burnish.data.chat.template import (
    BLOCKS,
    CLOSED,
    DROPPED,
    INSERTED,
    PARTS,
    TEXT,
    THOUGHT_FIELDS,
    ChatTemplate,
    Message,
    TemplateFeatures,
    adapt,
    split_thought,
)
from burnish.data.rows.row import RowError
from burnish.data.tokens.tokens import Tokens

# The contents of the probes are words that no template contains: one found in a rendered text was taken from a message.
SYSTEM, QUESTION, ANSWER = "zqsystemzq", "zqquestionzq", "zqanswerzq"
NAME, _ABOUT, _RESULT, _THOUGHTS = "zqnamezq", "zqaboutzq", "zqresultzq", "zqthoughtzq"
_VALUE = "zqvaluezq"
VALUES = ((_VALUE, "zqsecondzq"), ("zqthirdzq", "zqfourthzq"))
"""Of the arguments of two calls."""
# too long for templates that require ids of nine letters or digits
_LONG_ID = "call_0123456789abcdefghijklmn"

PLAIN: list[Message] = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": ANSWER}]
TOOLS: list[Message] = [
    {
        "type": "function",
        "function": {
            "name": NAME,
            "description": _ABOUT,
            "parameters": {
                "type": "object",
                "properties": {key: {"type": "string", "description": "a key"} for key in ("a", "b")},
                "required": ["a", "b"],
            },
        },
    }
]
_THINKING: list[Message] = [PLAIN[0], {**PLAIN[1], "reasoning_content": _THOUGHTS}]


def calling_turns(number: int, **more: str) -> list[Message]:
    """A question with an answer of `number` calls, each with two arguments."""
    calls = [
        {
            "id": f"{_LONG_ID}{call}",
            "type": "function",
            "function": {"name": NAME, "arguments": dict(zip("ab", VALUES[call], strict=True))},
        }
        for call in range(number)
    ]
    return [PLAIN[0], {"role": "assistant", "content": "", "tool_calls": calls, **more}]


def _results(number: int) -> list[Message]:
    return [
        {"role": "tool", "name": NAME, "tool_call_id": f"{_LONG_ID}{call}", "content": _RESULT}
        for call in range(number)
    ]


@dataclass(frozen=True, slots=True)
class Closing:
    """How answers of one kind end."""

    mark: str
    """The token that is learned as the end."""
    tail: str
    """What the template writes from that token on, if the answer is the last message."""


@dataclass(frozen=True, slots=True)
class ThoughtBlock:
    """What stands before and after a thought."""

    opening: str
    closing: str


@dataclass(frozen=True, slots=True)
class TemplateProbe:
    """What was found out about a template."""

    features: TemplateFeatures
    closings: tuple[Closing | None, Closing | None]
    """Of answers in words, and of calls; None if the template writes no end."""
    block: ThoughtBlock | None
    """Of thoughts that are inserted; None if the prompt or the template's own empty thought gives the place."""
    end_ids: list[int]
    """The tokens that may end an answer, EOS first."""
    notes: list[str]
    """Sentences for the user."""
    header: str
    """Text that the template writes between a prompt and its answer, so that the model learns to write it; empty if it
    is only whitespace."""


def probe_template(template: ChatTemplate, tokens: Tokens) -> TemplateProbe:
    """Probes what `template` supports.

    Raises:
        RowError: it rejects even one question with one answer.
    """
    header = _header(template)
    features, notes = TemplateFeatures(), _notes_on_plain(header, template)
    features = system_features(template, features)
    if not features.system:
        notes.append("the template has no system role: the system text is put at the start of the next user message")
    if not template.writes(PLAIN[:1], TOOLS, [NAME, _ABOUT, QUESTION]):
        features = replace(features, tools=False)
        notes.append("the template does not list tools: they are listed in the system text, one JSON line each")
    tools = TOOLS if features.tools else None
    calls = _call_features(template, tools, features)
    if calls is None:
        notes.append("the template does not support tool calls: calls and their results are written as JSON text")
    features = calls or replace(features, calls=False)
    features, block = _thought_features(template, tools, features)
    if template.fixed_date:
        notes.append(
            f"the template writes today's date: {template.fixed_date} is used instead, so that runs are reproducible"
        )
    closings = _plain_closing(template, tokens), None
    if features.calls:
        closings = closings[0], _call_closing(template, tokens, features, tools, closings[0])
    ends = [] if tokens.eos_id is None else [tokens.eos_id]
    ends += [tokens.marker_id(closing.mark) for closing in closings if closing is not None]
    return TemplateProbe(features, closings, block, list(dict.fromkeys(ends)), notes, header or "")


def _header(template: ChatTemplate) -> str | None:
    """Text that the template writes after the prompt and before an answer; None if the prompt has a thought there that
    the template leaves out of the conversation."""
    prompt = template.render(PLAIN[:1], None, answer_next=True)
    whole = template.render(PLAIN, None, answer_next=False)
    if not whole.startswith(prompt):
        return None
    header = whole[len(prompt) :].partition(ANSWER)[0]
    return header if header.strip() else ""


def _notes_on_plain(header: str | None, template: ChatTemplate) -> list[str]:
    if header is None and thought_at_end(template.render(PLAIN[:1], None, answer_next=True)) == "open":
        return [
            "the template opens a thinking block before each answer: if the data has none, an empty one is trained on"
        ]
    if header:
        return [f"the template writes {header!r} before an answer: the model learns to write it too"]
    return []


def _call_features(
    template: ChatTemplate, tools: list[Message] | None, features: TemplateFeatures
) -> TemplateFeatures | None:
    """The first form of calls that the template renders completely, or None."""
    for short_ids, as_text in product((False, True), repeat=2):
        tried = replace(features, arguments_as_text=as_text, short_call_ids=short_ids)
        text = rendered(template, [*calling_turns(1), *_results(1), PLAIN[1]], tools, tried)
        # Arguments as a Python dict or as an escaped JSON string are not what a model should learn to write.
        is_garbled = any(sign + _VALUE in text for sign in ("'a': '", '\\"'))
        if not is_garbled and all(word in text for word in (NAME, *VALUES[0], _RESULT, ANSWER)):
            return tried
    return None


def rendered(
    template: ChatTemplate, messages: list[Message], tools: list[Message] | None, features: TemplateFeatures
) -> str:
    """The text of these messages in this form; empty if the template rejects them."""
    try:
        return template.render(adapt(messages, None, features)[0], tools, answer_next=False)
    except RowError:
        return ""


THOUGHT_TAGS = {
    "<think>": "</think>",
    "[THINK]": "[/THINK]",
    "<thinking>": "</thinking>",
    "<seed:think>": "</seed:think>",
    "<reasoning>": "</reasoning>",
    "<|START_THINKING|>": "<|END_THINKING|>",
    "<|channel>thought": "<channel|>",
    "<|inner_prefix|>": "<|inner_suffix|>",
    "Here are my reasoning steps:": "[BEGIN FINAL RESPONSE]",
}
"""What opens and closes a thought in the templates of the field."""
_TAG = re.compile("|".join(map(re.escape, THOUGHT_TAGS)))
_OPENED = re.compile(rf"(?:{_TAG.pattern})\s*$")
EMPTY = re.compile("|".join(rf"{re.escape(start)}\s*{re.escape(end)}" for start, end in THOUGHT_TAGS.items()))


def thought_at_end(prompt: str) -> str:
    """`open` if a prompt ends within a thought, `closed` if it ends with an empty one, otherwise empty."""
    if _OPENED.search(prompt):
        return "open"
    ends = [found.end() for found in EMPTY.finditer(prompt)]
    return "closed" if ends and not prompt[ends[-1] :].strip() else ""


def before_thought(prompt: str) -> str:
    """The prompt without the thought at its end."""
    opened = _OPENED.search(prompt)
    return prompt[: opened.start()] if opened else prompt[: [found.start() for found in EMPTY.finditer(prompt)][-1]]


def closing_tag(prompt: str) -> str:
    """The tag that closes the thought at the end of a prompt."""
    return THOUGHT_TAGS[_TAG.findall(prompt)[-1]]


def fill_empty_thought(text: str, thought: str) -> str | None:
    """The text of an answer with a thought put into the empty one at its beginning; None if it begins with none."""
    empty = EMPTY.search(text)
    if empty is None or text[: empty.start()].strip():
        return None
    start = next(tag for tag in THOUGHT_TAGS if empty[0].startswith(tag))
    blank = empty[0][len(start) : -len(THOUGHT_TAGS[start])]
    half = blank[: len(blank) // 2]
    return text[: empty.start()] + start + half + thought + half + THOUGHT_TAGS[start] + text[empty.end() :]


def _thought_features(
    template: ChatTemplate, tools: list[Message] | None, features: TemplateFeatures
) -> tuple[TemplateFeatures, ThoughtBlock | None]:
    """The forms of thoughts before words and before calls, and what stands around thoughts that are inserted."""
    prompt = template.render(PLAIN[:1], None, answer_next=True)
    before_words = _thought_form(template, prompt, _THINKING, None, features, ANSWER)
    before_calls, block = before_words, None
    if features.calls:
        with_tools = template.render(PLAIN[:1], tools, answer_next=True)
        calling = calling_turns(1, reasoning_content=_THOUGHTS)
        before_calls = _thought_form(template, with_tools, calling, tools, features, _VALUE)
        block = _block(template, with_tools, calling, tools, replace(features, call_thoughts=before_calls))
    if block is not None and before_words in (TEXT, DROPPED):
        # The template writes thoughts before calls alone: what stands around them there belongs to any thought.
        before_words = INSERTED
    return replace(features, thoughts=before_words, call_thoughts=before_calls), block


def _thought_form(
    template: ChatTemplate,
    prompt: str,
    messages: list[Message],
    tools: list[Message] | None,
    features: TemplateFeatures,
    word: str,
) -> str:
    """The form in which the template writes the thought of the last of `messages` once, before `word`."""
    end = thought_at_end(prompt)
    if end == "closed":
        return CLOSED
    for form in (*THOUGHT_FIELDS, PARTS, BLOCKS, TEXT):
        whole = rendered(template, messages, tools, replace(features, thoughts=form, call_thoughts=form))
        if whole.count(_THOUGHTS) != 1 or word not in whole.partition(_THOUGHTS)[2]:
            continue
        rest = whole[len(commonprefix([prompt, whole])) :]
        if any(sign in rest for sign in ("'type': ", '"type": "t')):
            continue  # the parts themselves, as Python or JSON
        between = rest.partition(_THOUGHTS)[0]
        # not beside an empty thought that the template itself writes
        if not any(tag in between for tag in THOUGHT_TAGS.values()):
            return form
    whole = rendered(template, messages, tools, replace(features, thoughts=INSERTED, call_thoughts=INSERTED))
    rest = whole[len(commonprefix([prompt, whole])) :]
    return INSERTED if end == "open" or fill_empty_thought(rest, "") is not None else DROPPED


def _block(
    template: ChatTemplate,
    prompt: str,
    messages: list[Message],
    tools: list[Message] | None,
    features: TemplateFeatures,
) -> ThoughtBlock | None:
    """What the template writes around the thought of a call; None if it has no way of its own."""
    if features.call_thoughts not in (*THOUGHT_FIELDS, PARTS, BLOCKS):
        return None
    before, _, after = rendered(template, messages, tools, features).partition(_THOUGHTS)
    opened = before[len(commonprefix([prompt, before])) :]
    ends = [after.find(tag) + len(tag) for tag in THOUGHT_TAGS.values() if tag in after]
    return ThoughtBlock(opened, after[: min(ends)]) if ends else None


def _plain_closing(template: ChatTemplate, tokens: Tokens) -> Closing | None:
    last = template.render(PLAIN, None, answer_next=False)
    try:
        middle = template.render([*PLAIN, PLAIN[0]], None, answer_next=True)
    except RowError:
        middle = last
    return _closing(tokens, last, middle, ANSWER, set(), None, is_call=False)


def _call_closing(
    template: ChatTemplate,
    tokens: Tokens,
    features: TemplateFeatures,
    tools: list[Message] | None,
    plain: Closing | None,
) -> Closing | None:
    """The closing of calls: a marker that stands within parallel calls or between their arguments ends nothing."""
    for number in (2, 1):
        last = rendered(template, calling_turns(number), tools, features)
        word = VALUES[number - 1][1]
        if word not in last:
            continue
        middle = rendered(template, [*calling_turns(number), *_results(number), PLAIN[1]], tools, features) or last
        answer = last.partition(QUESTION)[2].rpartition(word)[0]
        inside = {marker.text for marker in tokens.markers(answer.partition(NAME)[2])}
        return _closing(tokens, last, middle, word, inside, plain, is_call=True)
    # some templates reject a call without its result; then only the end of plain answers is known
    return plain


def _closing(
    tokens: Tokens, last: str, middle: str, word: str, inside: set[str], plain: Closing | None, is_call: bool
) -> Closing | None:
    """The end of the answer whose last word is `word`.

    It stands in what follows the answer both in the middle of a conversation and at its end: EOS, or the last of the
    markers there, because what closes a part of the answer comes first. If nothing follows in both, the answer ends
    otherwise at the end, and there with the first marker.

    Args:
        tokens: know the markers.
        last: text of a conversation that ends with the answer.
        middle: text of one in which other messages follow.
        word: the last of the answer.
        inside: markers that end nothing.
        plain: how answers in words end, for calls.
        is_call: whether the answer is a call.
    """
    tail = last.rpartition(word)[2]
    shared = commonprefix([tail, middle.rpartition(word)[2]])
    for text, chosen in ((shared, -1), (tail, 0)):
        marks = [marker for marker in tokens.markers(text) if marker.text not in inside]
        known = [marker for marker in marks if plain is not None and marker.text == plain.mark]
        ends = [marker for marker in marks if marker.text == tokens.eos and text is shared]
        special = [marker for marker in marks if marker.is_special]
        for found in (known, ends, special, [] if is_call else marks):
            if found:
                mark = found[chosen].text
                # of a repeated mark the first: generation stops there
                return Closing(mark, tail[tail.index(mark) :])
    return None


THOUGHT, CALL_THOUGHT = "assistant.thought", "assistant.thought before a call"
_ALWAYS_USED = ("role", "content", "tool_calls", "weight", "reasoning_content")


def message_keys(messages: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """The keys of messages that a template may or may not write, each as `role.key`, with the number of messages;
    thoughts as `THOUGHT` or `CALL_THOUGHT`, and white space as `answer_spaces` names it."""
    messages = list(messages)
    keys = Counter[str](late_systems(messages))
    for message in messages:
        role, content = message["role"], message.get("content")
        keys.update(f"{role}.{key}" for key in message if key not in _ALWAYS_USED)
        if role != "assistant":
            continue
        if message.get("reasoning_content") or (isinstance(content, str) and split_thought(content)[0]):
            keys[CALL_THOUGHT if message.get("tool_calls") else THOUGHT] += 1
        keys.update((*answer_spaces(message), *tagged_thought(message)))
    return keys


def written_keys(keys: Iterable[str]) -> list[str]:
    """Those of `message_keys` that are keys in the rows, sorted; the others say something of contents and places."""
    others = (is_space, is_late_system, is_tagged_thought, {THOUGHT, CALL_THOUGHT}.__contains__)
    return sorted({key for key in keys if not any(is_other(key) for is_other in others)})


def notes_on_keys(template: ChatTemplate, features: TemplateFeatures, keys: Collection[str]) -> list[str]:
    """What a template does not write of messages with these keys, as sentences for the user.

    Args:
        template: renders messages.
        features: of the template.
        keys: as `message_keys` returns them.
    """
    thoughts = {THOUGHT: features.thoughts, CALL_THOUGHT: features.call_thoughts}
    forms = {form for key, form in thoughts.items() if key in keys}
    notes = []
    if DROPPED in forms:
        where = "" if features.thoughts == DROPPED else " before tool calls"
        notes.append(f"the template has no place for thoughts{where}: they are left out there")
    if TEXT in forms:
        notes.append("the template has no form of its own for thoughts: they are written in <think> tags")
    unread = [key for key in written_keys(keys) if not _reads_key(template, features, key)]
    if unread:
        named = ", ".join(f"`{key.partition('.')[2]}` ({key.partition('.')[0]})" for key in unread)
        notes.append(f"the template does not write these keys of the messages: {named}")
    counts = Counter(keys)
    if any(map(is_tagged_thought, counts)):
        written = template.render(PLAIN[:1], None, answer_next=True) + rendered(template, _THINKING, None, features)
        notes += notes_on_tagged_thoughts(written, counts)
    return notes + notes_on_late_system(features, counts) + notes_on_spaces(template, features, counts)


def _reads_key(template: ChatTemplate, features: TemplateFeatures, key: str) -> bool:
    """Whether the template writes a key of a role's messages, given as `role.key`."""
    role, _, name = key.partition(".")
    conversation: list[Message] = [{"role": "system", "content": SYSTEM}, *calling_turns(1), *_results(1), PLAIN[1]]
    texts = []
    for value in ("zqfirstid", "zqotherid"):
        messages = [{**message, name: value} if message["role"] == role else message for message in conversation]
        if name == "tool_call_id":
            messages[2] = {**messages[2], "tool_calls": [{**messages[2]["tool_calls"][0], "id": value}]}
        texts.append(rendered(template, messages, None, features))
    return texts[0] != texts[1] or (key == "tool.tool_call_id" and _tells_results_apart(template, features))


def _tells_results_apart(template: ChatTemplate, features: TemplateFeatures) -> bool:
    """Whether the template writes which call a result belongs to, by an id of its own form or by the function's name.

    An id of the data chooses it, although it is not written itself.
    """
    question, answer = calling_turns(2)
    first, second = answer["tool_calls"]
    calls = [first, {**second, "function": {**second["function"], "name": f"{NAME}_too"}}]
    begin: list[Message] = [{"role": "system", "content": SYSTEM}, question, {**answer, "tool_calls": calls}]
    results = [{name: value for name, value in result.items() if name != "name"} for result in _results(2)]
    swapped = [
        {**result, "tool_call_id": other["tool_call_id"]} for result, other in zip(results, results[::-1], strict=True)
    ]
    texts = [rendered(template, [*begin, *part, PLAIN[1]], None, features) for part in (results, swapped)]
    return texts[0] != texts[1]
