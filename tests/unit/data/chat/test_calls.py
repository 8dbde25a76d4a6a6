"""Calls are read from an answer in the form in which the template writes them, however the answer comes in pieces."""

from __future__ import annotations

import json
from typing import Any

import pytest

import tests.unit.data.chat_templates as styles
import tests.unit.data.thinking_templates as thinking
from burnish.data.chat.calls import CallForm, agree
from burnish.data.chat.format import ChatFormat
from burnish.data.chat.reading import AnswerReader, Part

# A list of calls with ids of nine letters or digits; and calls with name, id and arguments behind marks.
LISTED = """
{%- for message in messages %}
    {%- if message.role == "user" %}{{- "[INST] " + message.content + "[/INST]" }}
    {%- elif message.role == "tool" %}{{- "[RESULT] " + message.content + message.tool_call_id }}
    {%- elif message.tool_calls %}
        {{- "[TOOL_CALLS] [" }}
        {%- for call in message.tool_calls %}
            {%- if call.id | length != 9 %}{{- raise_exception("nine letters") }}{% endif %}
            {{- '{"name": "' + call.function.name + '", "arguments": ' + call.function.arguments | tojson }}
            {{- ', "id": "' + call.id + '"}' + (", " if not loop.last else "]" + eos_token) }}
        {%- endfor %}
    {%- else %}{{- " " + message.content + eos_token }}{% endif %}
{%- endfor %}"""
MARKED = """
{%- for message in messages %}
    {%- if message.role == "user" %}{{- "[INST]" + message.content + "[/INST]" }}
    {%- elif message.role == "tool" %}{{- "[RESULT]" + message.content + message.tool_call_id }}
    {%- else %}
        {{- message.content }}
        {%- for call in message.tool_calls or [] %}
            {{- "[CALL]" + call.function.name + "[ID]" + call.id + "[ARGS]" + call.function.arguments | tojson }}
        {%- endfor %}
        {{- eos_token }}
    {%- endif %}
{%- endfor %}"""
FENCED = """
{%- for message in messages %}
    {%- if message.role == "assistant" %}
        {{- "<A>" + message.content }}
        {%- for call in message.tool_calls or [] %}
            {{- "<calls>" if loop.first }}
            {{- "<call>function<sep>" + call.function.name + "\n```json\n" + call.function.arguments | tojson }}
            {{- "\n```</call>" + ("</calls>" if loop.last else "\n") }}
        {%- endfor %}
        {{- eos_token }}
    {%- else %}{{- "<" + message.role + ">" + message.content }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- "<A>" }}{% endif %}"""
TEMPLATES = {
    "chatml": styles.chatml,
    "as-text": styles.phi3,
    "bare-json": styles.llama3,
    "listed": lambda: styles.chatml(LISTED),
    "marked": lambda: styles.chatml(MARKED),
    "fenced": lambda: styles.chatml(FENCED),
    "channels": thinking.channels,
}
ARGUMENTS = [{"city": "Rome", "days": 2, "note": 'a "}" and a </tool_call>'}, {}]
NAMES = ["get_weather", "now"]
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in NAMES]


def conversation(number: int, words: str = "") -> list[dict[str, Any]]:
    calls = [
        {
            "id": f"call_{at}",
            "type": "function",
            "function": {"name": NAMES[at], "arguments": json.dumps(ARGUMENTS[at])},
        }
        for at in range(number)
    ]
    return [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": words, "tool_calls": calls}]


def written(chat: ChatFormat, messages: list[dict[str, Any]]) -> str:
    """What the model learns to answer."""
    encoded = chat.encode(type("Row", (), {"messages": messages, "tools": TOOLS, "place": "x"})(), 10_000)
    (example,) = encoded.examples
    answer = [id_ for id_, label in zip(example.input_ids, example.labels, strict=True) if label >= 0]
    return chat.tokens.decode([id_ for id_ in answer if id_ not in chat.stop_ids])


def read(reader: AnswerReader, text: str, size: int) -> list[Part]:
    parts = []
    for at in range(0, len(text), size):
        parts += reader.add(text[at : at + size])
    return [*parts, *reader.end()]


def joined(parts: list[Part], kind: str) -> str:
    return "".join(part.text for part in parts if part.kind == kind)


@pytest.mark.parametrize("name", TEMPLATES)
def test_calls_are_read_as_the_template_writes_them(name: str) -> None:
    chat = ChatFormat(TEMPLATES[name]())
    form = chat.call_form
    assert form is not None
    for number in (1, 2) if form.joint else (1,):
        text = written(chat, conversation(number))
        for size in (1, 3, 1000):
            parts = read(chat.reader([], with_calls=True), text, size)
            calls = [part for part in parts if part.kind == "call"]
            assert [part.name for part in calls] == NAMES[:number], (size, parts)
            assert [json.loads(part.text) for part in calls] == ARGUMENTS[:number]
            assert joined(parts, "words") == "", "nothing of the form is left"


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_call_is_handed_on_as_it_is_written(name: str) -> None:
    chat = ChatFormat(TEMPLATES[name]())
    form = chat.call_form
    assert form is not None
    for number in (1, 2) if form.joint else (1,):
        text = written(chat, conversation(number))
        for size in (1, 3, 1000):
            reader = chat.reader([], with_calls=True)
            reader.stream_calls()
            parts = read(reader, text, size)
            whole = [part for part in read(chat.reader([], with_calls=True), text, 1000) if part.kind == "call"]
            calls: list[list[Part]] = []
            for part in parts:
                assert part.kind == "call", "nothing of the form is left"
                if part.name:
                    calls.append([])
                calls[-1].append(part)
            assert [(call[0].name, "".join(part.text for part in call)) for call in calls] == [
                (call.name, call.text) for call in whole
            ]
            assert [[part.is_whole for part in call] for call in calls] == [
                [False] * (len(call) - 1) + [True] for call in calls
            ]
            assert len(parts) > 20 or size > 1, "the arguments are not held back"


def test_a_streamed_call_that_is_cut_off_or_none() -> None:
    chat = ChatFormat(styles.chatml())
    for text, parts in (
        ('<tool_call>\n{"name": "now", "arguments": {"a": "}', [("", "now"), ('{"a": "}', "")]),
        ('<tool_call>\n{"name": "now", "arguments": [1]}', [('<tool_call>\n{"name": "now", "arguments": [1]}', "")]),
        ('<tool_call>\n{"name": "no', [('<tool_call>\n{"name": "no', "")]),
    ):
        reader = chat.reader([], with_calls=True)
        reader.stream_calls()
        found = read(reader, text, 1000)
        assert [(part.text, part.name) for part in found] == parts
        assert not found[-1].is_whole or found[-1].kind == "words"


def test_the_forms_that_are_found() -> None:
    assert ChatFormat(styles.chatml()).call_form == CallForm(
        '<tool_call>\n{"name": "', '", "arguments": ', "}\n</tool_call>", '}\n</tool_call>\n<tool_call>\n{"name": "'
    )
    listed = ChatFormat(styles.chatml(LISTED)).call_form
    assert listed is not None
    assert (listed.id_size, listed.joint) == (9, ', "id": "\0"}, {"name": "')
    one_at_a_time = ChatFormat(styles.llama3()).call_form
    assert one_at_a_time is not None
    assert one_at_a_time.joint is None


@pytest.mark.parametrize(
    "make", [thinking.tagged_arguments, thinking.short_marks, lambda: styles.chatml(styles.PICKY_CALLS)]
)
def test_calls_that_cannot_be_read_have_no_form(make: Any) -> None:
    assert ChatFormat(make()).call_form is None


def test_words_around_calls_stay() -> None:
    chat = ChatFormat(styles.chatml())
    call = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    for size in (1, 2, 7, 1000):
        parts = read(chat.reader([], with_calls=True), f"Let me see <b>.\n\n{call}\n{call} Done.", size)
        assert [part.name for part in parts if part.kind == "call"] == ["now", "now"]
        assert joined(parts, "words") == "Let me see <b>.Done."
        other = '{"name":"now","arguments":{"a":1}}'
        close = read(chat.reader([], with_calls=True), f"<tool_call>{other}</tool_call>", size)
        assert close == [Part("call", '{"a":1}', "now")], "blanks do not matter"


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>",
        '<tool_call>\n{"name": "now", "arguments": {"a": ',
        '<tool_call>\n{"name": "now", "arguments": [1]}\n</tool_call>',
        '<tool_call>\n{"name": "now", "arguments": {"a": 1,}}\n</tool_call>',
        "a < b and <tool",
    ],
)
def test_what_is_no_call_is_words(text: str) -> None:
    chat = ChatFormat(styles.chatml())
    for size in (1, 1000):
        parts = read(chat.reader([], with_calls=True), text, size)
        assert {part.kind for part in parts} == {"words"}
        assert joined(parts, "words") == text
    assert read(chat.reader([]), "<tool_call>", 1000) == [Part("words", "<tool_call>")]


def test_thoughts_are_apart_from_words() -> None:
    chat = ChatFormat(styles.chatml(styles.OPENS_THOUGHT))
    prompt = chat.prompt_ids([{"role": "user", "content": "Hi"}])
    for size in (1, 3, 1000):
        opened = read(chat.reader(prompt), "well,\n\nhm\n</think>\n\nFine <b>.", size)
        assert (joined(opened, "thought"), joined(opened, "words")) == ("well,\n\nhm", "Fine <b>.")
        closed = read(chat.reader([]), "<think>\nhm\n</think>\n\nFine.", size)
        assert (joined(closed, "thought"), joined(closed, "words")) == ("hm", "Fine.")
        cut = read(chat.reader([]), "<think>\nhm", size)
        assert (joined(cut, "thought"), joined(cut, "words")) == ("hm", "")
        plain = read(chat.reader([]), "<this> is <think> fine", size)
        assert joined(plain, "words") == "<this> is <think> fine"
        raw = read(AnswerReader(reads_thoughts=False), "<think>\nhm", size)
        assert joined(raw, "words") == "<think>\nhm"


def test_parts_of_a_form_agree_with_what_may_become_them() -> None:
    assert agree("", "abc")
    assert agree(" a\n", "abc")
    assert agree("abcde", "a bc")
    assert not agree("ac", "abc")
    assert agree('"id": "a1', '"id": "\0"}')
    assert agree('"id": "a1"}, more', '"id": "\0"}')
    assert not agree('"id": "a1" other', '"id": "\0"}')
