"""Templates: what is put in stays where it is put, in HTML, Markdown and Python."""

from __future__ import annotations

import ast
import re

import pytest
from jinja2 import UndefinedError

from burnish.templates import code_span, in_docstring, inline, literal, one_line, render, render_html

HOSTILE = [
    "a \"b\" 'c'", 'ends with a quote"', "back\\slash\\", "\\N{BULLET} \\x", "line\nbreak\r\x0b\u2028end",
    "`tick` ``", "a | b", "---", '"""', "<script>alert(1)</script>", "{{ x }} {% y %}", "half \ud83d",
    "\x00", "é 漢 🎉",
]  # fmt: skip


@pytest.mark.parametrize("value", [*HOSTILE, 1, 1.5, 1e-9, True, None, [1, 'a"b'], (0.9, 0.95), {"a": [None, "\\"]}])
def test_a_literal_is_the_value(value: object) -> None:
    written = literal(value)
    assert ast.literal_eval(written) == value
    written.encode("utf-8")


@pytest.mark.parametrize("text", HOSTILE)
def test_words_in_a_docstring_end_nothing(text: str) -> None:
    written = f'"""Repeats `{in_docstring(text)}` again."""'
    if "\x00" not in text:  # which no source may hold, and no file be named
        assert ast.literal_eval(written) == f"Repeats `{one_line(text)}` again."


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_stays_on_its_line_and_in_its_cell(text: str) -> None:
    for written in (inline(text), code_span(text)):
        assert len(written.splitlines()) <= 1
        written.encode("utf-8")
    assert "<" not in inline(text).replace("\\<", "")
    assert "|" not in inline(text).replace("\\|", "")
    assert "`" not in code_span(text)[1:-1]


@pytest.mark.parametrize("text", HOSTILE)
def test_pages_escape_without_being_asked(text: str) -> None:
    page = render_html("report/setup.html", pairs=[(text, text)])
    assert re.findall("<[a-z/]+", page) == re.findall("<[a-z/]+", render_html("report/setup.html", pairs=[("a", "b")]))


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("report/setup.html")
