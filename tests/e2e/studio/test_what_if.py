"""Sliders of a plan, moved by keyboard: number, recipe and plan follow."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.e2e.studio.conftest import Studio, Tab
from tests.e2e.studio.pages import Plan
from tests.e2e.studio.pages import Studio as Pages

pytestmark = pytest.mark.slow
_KEEP_ANSWERS = """(plan) => {
    window.answers = [];
    const now = () => plan.querySelector(".notice")?.innerText;
    new MutationObserver(() => now() && now() !== window.answers.at(-1) && window.answers.push(now()))
        .observe(plan, {childList: true, subtree: true, characterData: true});
}"""
"""Keeps each answer that the plan shows, however short."""


def test_a_slider_changes_recipe_and_plan(studio: Studio, new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    pages = Pages(tab.page, studio.address).open("/")
    tab.page.get_by_text("Start with the example").click()
    tab.page.wait_for_url("**/new/draft-*")
    pages.open(f"{tab.page.url}/plan".removeprefix(studio.address))
    Plan(tab.page, studio.address).sees("It fits:")
    shown, recipe = tab.page.get_by_label("The plan", exact=True), tab.page.get_by_label("Recipe, as YAML")
    expect(shown).to_contain_text("tokens per second")
    before = shown.inner_text()
    shown.evaluate(_KEEP_ANSWERS)
    rank = tab.page.get_by_label("Rank of the adapter", exact=True)
    rank.press("End")
    expect(rank).to_have_attribute("aria-valuetext", "128")
    expect(rank).to_have_js_property("value", "6")
    expect(tab.page.locator(f"output[for={rank.get_attribute('id')}]")).to_have_text("128")
    expect(recipe).to_have_value(re.compile("rank: 128"))
    expect(shown).not_to_have_text(before, use_inner_text=True)
    expect(shown).to_contain_text("tokens per second")
    answers = shown.evaluate("() => window.answers")
    assert answers[0].startswith("An estimate: about") and all(one.startswith("It fits: about") for one in answers[1:])
    context = tab.page.get_by_label("Context, tokens", exact=True)
    context.press("End")
    expect(shown).to_contain_text("this model accepts at most 512 tokens")
    context.press("Home")
    expect(recipe).to_have_value(re.compile("context: 64"))
    expect(shown).to_contain_text("It fits:")
    tab.check(studio.address)
