"""Templates: what is put in stays where it is put, in HTML, Markdown and Python."""

from __future__ import annotations

import ast
import math
import re

import pytest
from jinja2 import UndefinedError

from burnish.templates import code_span, in_docstring, inline, literal, one_line, render, render_html

HOSTILE = [
    "a \"b\" 'c'", 'ends with a quote"', "back\\slash\\", "\\N{BULLET} \\x", "line\nbreak\r\x0b\u2028end",
    "`tick` ``", "a | b", "---", '"""', "<script>alert(1)</script>", "{{ x }} {% y %}", "half \ud83d",
    "\x00", "é 漢 🎉", "\x1b[2J\x07", "a\r\fb\x85c\u2029", "\u202egpj", "\\<script>", "\\| a", "![x](http://y/z.png)",
    "[a](javascript:b)", "[a][b] [c]: d", "# e", "1. f", "- g", "> h", "__init__ *i* ~~j~~", "`<b>` `", "``", "\\`<i>`",
    "</script>", "-->", "\"\"\"\nimport os\n\"\"\"", "inf", "#", "==",
]  # fmt: skip


@pytest.mark.parametrize("value", [*HOSTILE, 1, 1.5, 1e-9, True, None, [1, 'a"b'], (0.9, 0.95), {"a": [None, "\\"]}])
def test_a_literal_is_the_value(value: object) -> None:
    written = literal(value)
    assert ast.literal_eval(written) == value
    written.encode("utf-8")


@pytest.mark.parametrize("text", HOSTILE)
def test_words_in_a_docstring_end_nothing(text: str) -> None:
    written = f'"""Repeats `{in_docstring(text)}` again."""'
    assert ast.literal_eval(written) == f"Repeats `{one_line(text)}` again."
    assert written.isprintable()


def test_a_number_that_is_none_is_python() -> None:
    assert eval(literal([math.inf, -math.inf]), {"float": float}) == [math.inf, -math.inf]


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_stays_on_its_line_and_in_its_cell(text: str) -> None:
    for written in (inline(text), code_span(text)):
        assert len(written.splitlines()) <= 1
        written.encode("utf-8")
        assert written.isprintable()
    assert not without_code_and_escapes(inline(text)) & set("<|`*")
    assert not re.search(r"^[#>+-]\s|^\d+[.)]\s|^--|^=+$|\][(\[:]", inline(text))
    assert "`" not in code_span(text)[1:-1]
    assert len(code_span(text)) > 2, "two backticks alone would open something"


def without_code_and_escapes(written: str) -> set[str]:
    """The characters of a line of Markdown that may mean something."""
    return set(re.sub(r"(?<!`)`[^`]+`(?!`)", "", re.sub(r"\\[\W_]", "", written)))


def test_sentences_keep_their_code_and_their_figures() -> None:
    for sentence in ("`orders.txt`: loss [2.8, 3.2], -2.3 (-77 %)", "orders_easy acc", "3.000 [2.8]", "-2.300 (-77 %)"):
        assert inline(sentence) == sentence
    assert inline("see `a|b_c*`") == "see `a\\|b_c*`"


@pytest.mark.parametrize("text", HOSTILE)
def test_pages_escape_without_being_asked(text: str) -> None:
    page = render_html("report/setup.html", pairs=[(text, text)])
    assert re.findall("<[a-z/]+", page) == re.findall("<[a-z/]+", render_html("report/setup.html", pairs=[("a", "b")]))


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render("report/setup.html")
