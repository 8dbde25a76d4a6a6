"""Texts of conversations that are put together from pieces are those that the template renders."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from jinja2 import Environment

from burnish.data.chat.messages import Message
from burnish.data.chat.template import ChatTemplate, ensure_template
from burnish.data.chat.template_pieces import TemplatePieces, find_pieces
from burnish.data.chat.template_proof import NoProofError, TemplateProof
from tests.unit.data import chat_templates

# As in several families: thoughts of earlier turns are taken out, contents may be lists of parts.
THINKS = """
{%- set ns = namespace(last=messages | length - 1) %}
{%- for message in messages %}
    {%- if message.content is string %}{% set content = message.content %}{% else %}{% set content = "" %}{% endif %}
    {%- if message.role == "user" and not (content.startswith("<tool>") and content.endswith("</tool>")) %}
        {%- set ns.last = loop.index0 %}
    {%- endif %}
    {%- set thought = "" %}
    {%- if message.reasoning_content is string %}
        {%- set thought = message.reasoning_content %}
    {%- elif "</think>" in content %}
        {%- set thought = content.split("</think>")[0].rstrip("\\n") %}
        {%- set content = content.split("</think>")[-1].lstrip("\\n") %}
    {%- endif %}
    {%- if thought and loop.index0 > ns.last %}{{ "<think>" + thought.strip("\\n") + "</think>" }}{% endif %}
    {{- "<" + message.role + ">" + (content | trim) + ("</s>" if loop.last else "</t>") }}
    {%- for call in message.tool_calls or [] %}{{ call | tojson }}{% endfor %}
{%- endfor %}"""
FIRST_APART = """
{%- if messages[0]["role"] == "system" %}
    {%- set system = messages[0]["content"].strip() + "\\n" %}{% set rest = messages[1:] %}
{%- else %}{% set system = "" %}{% set rest = messages %}{% endif %}
{%- for message in rest %}
    {%- if (message["role"] == "user") != (loop.index0 % 2 == 0) %}{{ raise_exception("turns") }}{% endif %}
    {%- if loop.first %}{{ system }}{% endif %}
    {{- message["role"] ~ ": " ~ message["content"] }}
    {%- if loop.nextitem is defined and loop.nextitem.role == "user" %}{{ "|" }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ "assistant: " }}{% endif %}"""
PROVED = {
    name: getattr(chat_templates, name)
    for name in ("LLAMA3", "MISTRAL", "PHI3", "ENDS_LAST", "STRIPS", "NO_PROMPT", "HIDES_ANSWER", "NO_END")
} | {"THINKS": THINKS, "FIRST_APART": FIRST_APART}

WORDS = ("a", " ", "\n", "\u2003", "{{ b }}", "<|im_end|>", "é", "</think>", "<tool>", "", "0", "\ue0001\ue001", "'")


def conversation(draw: random.Random) -> list[Message]:
    roles = ["system"] * draw.randint(0, 1) + ["user", "assistant"] * draw.randint(1, 3) + ["tool"] * draw.randint(0, 1)
    said = ["".join(draw.choices(WORDS, k=draw.randint(0, 6))) for _ in roles]
    return [{"role": role, "content": content} for role, content in zip(roles, said, strict=True)]


@pytest.mark.parametrize("name", [*PROVED, "own"])
def test_pieces_give_what_rendering_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = chat_templates.chatml(PROVED.get(name))
    if name == "own":
        ensure_template(tokenizer)
    draw, put_together = random.Random(name), 0
    template, plain = ChatTemplate(tokenizer), ChatTemplate(tokenizer)
    monkeypatch.setitem(plain.__dict__, "_pieces", None)
    assert template._pieces is not None
    for _ in range(600):
        messages, answer_next = conversation(draw), draw.random() < 0.5
        put_together += template._pieces.text(messages, answer_next) is not None
        assert outcome(template, messages, answer_next) == outcome(plain, messages, answer_next)
    assert put_together > 15


def outcome(template: ChatTemplate, messages: Sequence[Message], answer_next: bool) -> str:
    try:
        return template.render(messages, None, answer_next)
    except ValueError as refusal:
        return f"refused: {refusal}"


WITH = "{% for m in messages %}"
SAID_AND_MORE = {
    "a part": WITH + "{{ m.content[:3] }}{% endfor %}",
    "its length": WITH + "{{ m.content | length }}{% endfor %}",
    "a condition on what it says": WITH + "{% if m.content == 'a' %}x{% endif %}{% endfor %}",
    "whether it holds another content": WITH + "{% if messages[0].content in m.content %}x{% endif %}{% endfor %}",
    "whether a text of it is held": WITH + "{% if m.content in 'abc' %}x{% endif %}{% endfor %}",
    "another filter": WITH + "{{ m.content | upper }}{% endfor %}",
    "another method": WITH + "{{ m.content.replace('a', 'b') }}{% endfor %}",
    "one side trimmed": WITH + "{{ m.content.lstrip() }}{% endfor %}",
    "other characters trimmed": WITH + "{{ m.content.strip('x') }}{% endfor %}",
    "a joint text trimmed": WITH + "{{ (' ' + m.content) | trim }}{% endfor %}",
    "as JSON": WITH + "{{ m.content | tojson }}{% endfor %}",
    "the whole message": WITH + "{{ m }}{% endfor %}",
    "the whole message as JSON": WITH + "{{ m | tojson }}{% endfor %}",
    "all messages": "{{ messages | tojson }}",
    "a key that is not named": WITH + "{% for key in m %}{{ m[key] }}{% endfor %}{% endfor %}",
    "a key made of parts": WITH + "{% if m['con' + 'tent'] == 'a' %}x{% endif %}{% endfor %}",
    "the items": WITH + "{% for key, value in m.items() %}{{ value | upper }}{% endfor %}{% endfor %}",
    "the values, by way of a name": WITH + "{% set of = m.values %}{{ of() | list | upper }}{% endfor %}",
    "got": WITH + "{{ m.get('content') | upper }}{% endfor %}",
    "by way of a name": WITH + "{% set said = m.content %}{{ said | upper }}{% endfor %}",
    "by way of two names": WITH + "{% set a = m.content %}{% set b = a %}{% if b == 'x' %}y{% endif %}{% endfor %}",
    "a name that only comes later": "{% for n in [1, 2] %}{% if x %}{{ x | upper }}{% endif %}{% endfor %}"
    "{% set x = messages[0].content %}{% for n in [1] %}{{ x | upper }}{% endfor %}",
    "a name that may not be there yet": "{% if not x %}{{ messages | tojson }}{% endif %}"
    "{% set x = messages[0].content %}",
    "a name of one branch": "{% if messages[0].role == 'user' %}{% set x = messages[0].content %}{% endif %}"
    "{% if not x %}{{ messages | tojson }}{% endif %}",
    "a name of another loop": WITH
    + "{% set x = m.content %}{% endfor %}{% if not x %}{{ messages | tojson }}{% endif %}",
    "what may be blank": "{% set x = (messages[0].content if messages[0].role == 'user' else '') + '' %}"
    "{% if not x %}{{ messages | tojson }}{% endif %}",
    "a namespace": "{% set ns = namespace(x='') %}{% set ns.x = messages[0].content %}{{ ns.x | upper }}",
    "a namespace of it": "{% set ns = namespace(x=messages) %}{{ ns.x | tojson }}",
    "a block": "{% set x %}{{ messages[0].content }}{% endset %}{{ x | upper }}",
    "a macro": "{% macro say(m) %}{{ m.content | upper }}{% endmacro %}{{ say(messages[0]) }}",
    "a filter block": "{% filter upper %}{{ messages[0].content }}{% endfilter %}",
    "selected": "{% for m in messages | selectattr('content', 'equalto', 'a') %}x{% endfor %}",
    "a comparison of messages": WITH + "{% if m == messages[0] %}x{% endif %}{% endfor %}",
    "counted letters": WITH + "{% for letter in m.content %}x{% endfor %}{% endfor %}",
    "arithmetic": WITH + "{{ m.content * 2 }}{% endfor %}",
    "formatting": WITH + "{{ '%5s' % m.content }}{% endfor %}",
    "a list of it": "{% set x = [messages[0].content] %}{{ x[0] | upper }}",
    "an argument": "{{ ', '.join([messages[0].content]) | upper }}",
    "a default": WITH + "{{ m.content | default('') | upper }}{% endfor %}",
    "neighbours": WITH + "{% if loop.previtem is defined and loop.previtem.content == 'a' %}x{% endif %}{% endfor %}",
    "what has changed": WITH + "{% if loop.changed(m.content) %}x{% endif %}{% endfor %}",
    "blanks": WITH + "{% if ' ' in m.content %}x{% endif %}{% endfor %}",
    "looked for in a joint text": WITH + "{% if 'ab' in 'a' + m.content %}x{% endif %}{% endfor %}",
}


@pytest.mark.parametrize("template", SAID_AND_MORE.values(), ids=SAID_AND_MORE.keys())
def test_a_template_that_does_more_than_write_is_not_taken_apart(template: str) -> None:
    with pytest.raises(NoProofError):
        TemplateProof(Environment().parse(template))
    assert find_pieces(template, lambda messages, answer_next: "") is None


def test_what_is_looked_for_in_contents_is_told() -> None:
    assert TemplateProof(Environment().parse(THINKS)).needles == {"<tool>", "</think>"}  # `and` ends at the first


def rendering(template: str) -> Any:
    return lambda messages, answer_next: Environment().from_string(template).render(messages=messages)


def test_messages_with_more_than_a_role_and_a_content_are_rendered() -> None:
    template = WITH + "{{ m.content }}{{ m.name }}{% endfor %}"
    pieces = find_pieces(template, rendering(template))
    assert pieces is not None
    assert pieces.text([{"role": "user", "content": "a"}], False) == "a"
    assert pieces.text([{"role": "user", "content": "a", "name": "b"}], False) is None
    assert pieces.text([{"role": "user", "content": ""}], False) is None


def test_pieces_that_are_not_what_is_rendered_are_not_used() -> None:
    pieces = TemplatePieces(rendering(WITH + "{{ m.content | upper }}{% endfor %}"), set())
    assert pieces.text([{"role": "user", "content": "a"}], False) is None
