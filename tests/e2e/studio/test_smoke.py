"""One look at a studio: it starts, shows its first pages, takes a file, and asks nothing of another machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import expect

from tests.e2e.studio.conftest import Studio, Tab
from tests.e2e.studio.pages import Studio as Pages

_GROUND = "getComputedStyle(document.body).backgroundColor"


def test_the_first_pages(studio: Studio, new_tab: Callable[..., Tab], tmp_path: Path) -> None:
    tab = new_tab()
    pages = Pages(tab.page, studio.address).open()
    pages.sees("Teach a model your own examples")
    pages.open("/learn").sees("Fine-tuning in three minutes")
    dark = tab.page.evaluate(_GROUND)
    tab.page.get_by_label("Colours").select_option("Dark colours")
    expect(tab.page.locator("html")).to_have_attribute("style", re.compile("dark"))
    assert tab.page.evaluate(_GROUND) != dark
    pages.open("/new").sees("Drop a file here")
    expect(tab.page.get_by_label("Colours")).to_have_value("dark")
    tab.page.get_by_label("Recipe", exact=True).fill("burnish train nowhere.jsonl --epochs 2 --lerning-rate 1")
    tab.page.get_by_role("button", name="Use this text").click()
    pages.sees("--lerning-rate")
    tab.page.get_by_label("Recipe", exact=True).fill("burnish train nowhere.jsonl --epochs 2")
    tab.page.get_by_role("button", name="Use this text").click()
    tab.page.wait_for_url("**/new/draft-*")
    pages.sees("nowhere.jsonl")
    pages.open("/nothing").sees("There is no such page")
    pages.open("/runs/ftjob-none").sees("There is no run")
    rows = tmp_path / "<img src=x onerror=alert(1)>.csv"
    rows.write_text("q;a\n<script>alert(2)</script>;<b>x</b>\n" * 20)
    data = pages.upload(rows)
    data.sees("<img src=x onerror=alert(1)>")
    tab.check(studio.address)
    studio.stop()
    assert studio.process.returncode == 0
