"""Characters that a terminal would obey are written as escapes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from burnish.visible import parse_json, read_exact, visible, visible_json

ACTIVE = {
    "\x00": "\\x00", "\x07": "\\x07", "\x08": "\\x08", "\r": "\\r", "\x1b": "\\x1b", "\x7f": "\\x7f",
    "\x85": "\\x85", "\x9b": "\\x9b", "\u2028": "\\u2028", "\u202e": "\\u202e", "\u2066": "\\u2066",
    "\ud83d": "\\ud83d",
}  # fmt: skip


@pytest.mark.parametrize("character", ACTIVE)
def test_what_acts_is_written_out(character: str) -> None:
    assert visible(f"a{character}b\n\tc") == f"a{ACTIVE[character]}b\n\tc"


def test_a_name_is_one_line() -> None:
    assert visible("a\n\tb", kept="") == "a\\n\\tb"


@pytest.mark.parametrize("text", ["plain", "é 漢 🎉", "C:\\x1b", "نام‌ها", "👩‍🚀", "[bold]x[/bold]", ""])
def test_text_is_left_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize("character", ACTIVE)
def test_json_says_the_same(character: str) -> None:
    written = visible_json(json.dumps({character: f"\n{character} é"}, ensure_ascii=False))
    assert character not in written
    assert "é" in written
    assert json.loads(written) == {character: f"\n{character} é"}


@pytest.mark.parametrize("read", [parse_json, read_exact])
@pytest.mark.parametrize(
    "text", ["[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000, "{", "\ud800"]
)
def test_json_that_nests_too_deeply_is_none(text: str, read: Callable[[str], Any]) -> None:
    with pytest.raises(ValueError, match=r"nests too deeply|Expecting"):
        read(text)
