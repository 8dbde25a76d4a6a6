"""Chat templates made of pieces that do harm, or nothing sensible."""

from __future__ import annotations

import random

_EXPRESSIONS = (
    "messages[0]['content']", "messages", "message.role", "message.content | upper", "1 / 0", "'a' * 4000000000",
    "10 ** 100000000", "'%1000000000d' % 1", "range(100000000) | list", "range(10000) | map('string') | join",
    "messages | tojson", "undefined_name", "undefined_name.attribute", "messages[99]", "''.__class__.__mro__",
    "self._TemplateReference__context", "cycler", "namespace", "raise_exception('no')", "strftime_now('%Y')",
    "'{0.__class__}'.format(messages)", "message['content'] * 100000", "2 ** 63", "lipsum(100000)",
    "('a' * 100000) | wordwrap(1)", "'a' | center(1000000000)", "messages | length", "'\\ud800'", "'\\x1b[2J'",
    "[1] * 1000000000", "'a'.join(range(10000000) | map('string'))", "dict(a=1)", "'x'.replace('', 'y' * 1000000)",
    "'a' | indent(1000000000)", "'%s' % ((1,) * 1000)", "9999999999 | filesizeformat",
    "messages | sort(attribute='content')",
)  # fmt: skip
_STATEMENTS = (
    "{{% for a in range(100000) %}}{{% for b in range(100000) %}}{body}{{% endfor %}}{{% endfor %}}",
    "{{% for message in messages %}}{body}{{% endfor %}}",
    "{{% for message in messages recursive %}}{body}{{{{ loop(messages) }}}}{{% endfor %}}",
    "{{% macro f(x) %}}{body}{{{{ f(x) }}}}{{% endmacro %}}{{{{ f(1) }}}}",
    "{{% set x = 'a' %}}{{% for i in range(60) %}}{{% set x = x ~ x %}}{{% endfor %}}{body}",
    "{{% set ns = namespace(x='a') %}}{{% for i in range(60) %}}{{% set ns.x = ns.x ~ ns.x %}}{{% endfor %}}{body}",
    "{{% set ns = namespace(x=[1]) %}}{{% for i in range(60) %}}{{% set ns.x = ns.x + ns.x %}}{{% endfor %}}{body}",
    "{{% if messages %}}{body}{{% endif %}}",
    "{{% if add_generation_prompt %}}{body}{{% else %}}",
    "{{% include 'other' %}}",
    "{{% extends 'other' %}}",
    "{{% generation %}}{body}{{% endgeneration %}}",
    "{{% raw %}}{body}{{% endraw %}}",
    "{{% call(x) f() %}}{body}{{% endcall %}}",
    "{{% filter upper %}}{body}{{% endfilter %}}",
    "{{# {body} #}}",
    "{{% while true %}}{body}{{% endwhile %}}",
    "{{% break %}}",
)
_GOOD = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def odd_template(source: random.Random) -> str:
    """A template, good ones among them."""
    body = "".join(_piece(source) for _ in range(source.randrange(1, 4)))
    for _ in range(source.randrange(3)):
        body = source.choice(_STATEMENTS).format(body=body)
    kind = source.randrange(4)
    if kind == 0:
        return body
    if kind == 1:
        return _GOOD + body
    if kind == 2:
        return body + _GOOD
    at = source.randrange(len(_GOOD))
    return _GOOD[:at] + body + _GOOD[at:]


def _piece(source: random.Random) -> str:
    if source.random() < 0.2:
        return source.choice(("text ", "<|im_end|>", "\u2028", "{", "}}", "{%"))
    return "{{ " + source.choice(_EXPRESSIONS) + " }}"
