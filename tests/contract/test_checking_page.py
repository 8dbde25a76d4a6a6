"""The page about checking data is made from the kinds of defects, and is current."""

from __future__ import annotations

from pathlib import Path

from burnish.check.finding import PAGE, kinds, page

ROOT = Path(__file__).parents[2]


def test_the_page_is_current() -> None:
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page(), "run `make docs`"


def test_every_kind_stands_there_once() -> None:
    for name in kinds():
        assert page().count(f"\n| `{name}` |") == 1
