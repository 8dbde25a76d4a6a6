"""One look at a studio: it starts, shows its first pages, takes a file, and asks nothing of another machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.e2e.studio.conftest import Studio, Tab
from tests.e2e.studio.pages import Studio as Pages


def test_the_first_pages(studio: Studio, new_tab: Callable[..., Tab], tmp_path: Path) -> None:
    tab = new_tab()
    pages = Pages(tab.page, studio.address).open()
    pages.sees("Teach a model your own examples")
    pages.open("/learn").sees("Fine-tuning in three minutes")
    pages.open("/nothing").sees("There is no such page")
    pages.open("/runs/ftjob-none").sees("There is no run")
    rows = tmp_path / "<img src=x onerror=alert(1)>.csv"
    rows.write_text("q;a\n<script>alert(2)</script>;<b>x</b>\n" * 20)
    data = pages.upload(rows)
    data.sees("<img src=x onerror=alert(1)>")
    tab.check(studio.address)
    studio.stop()
    assert studio.process.returncode == 0
