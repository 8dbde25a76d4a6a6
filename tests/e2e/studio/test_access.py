"""Every page for everybody: three widths, light and dark, checked by axe-core; a training begun by keyboard alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.studio.conftest import Studio, Tab
from tests.e2e.studio.pages import Run
from tests.e2e.studio.pages import Studio as Pages

pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
pytestmark = pytest.mark.slow
_MOST_TABS = 80


def test_every_page_is_accessible_and_asks_no_other_machine(tmp_path: Path) -> None:
    from tools.pictures.studio import browser, make_project, shots_of, take

    project, pictures = tmp_path / "project", tmp_path / "pictures"
    pictures.mkdir()
    with browser() as opened:
        shots = shots_of(make_project(project))
        assert take(project, shots, pictures, opened) == []
    assert len(list(pictures.glob("*.png"))) == 6 * len(shots)


def test_a_run_is_begun_and_cancelled_by_keyboard_alone(studio: Studio, new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    Pages(tab.page, studio.address).open("/")
    tab.page.keyboard.press("Tab")
    expect(tab.page.locator(":focus")).to_have_text("Skip to the content")
    press(tab.page, "Start with the example")
    tab.page.wait_for_url("**/new/draft-*")
    press(tab.page, "Continue to model and plan")
    tab.page.wait_for_url("**/plan")
    press(tab.page, "Start training")
    tab.page.wait_for_url("**/runs/ftjob-*")
    run = Run(tab.page, studio.address)
    press(tab.page, "Cancel")
    press(tab.page, "Cancel it")
    run.is_in("cancelled")
    tab.check(studio.address)


def press(page: Page, name: str) -> None:
    """Goes to a link or button by Tab, and presses Enter."""
    expect(page.get_by_text(name, exact=True).first).to_be_visible()
    for _ in range(_MOST_TABS):
        if page.evaluate("document.activeElement?.textContent.trim()") == name:
            page.keyboard.press("Enter")
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"`{name}` cannot be reached by Tab")
