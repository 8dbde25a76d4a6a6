"""What beginners do, from a file to the next run, each in one browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.studio.conftest import Studio, Tab
from tests.e2e.studio.pages import Data, Plan
from tests.e2e.studio.pages import Studio as Pages

pytestmark = pytest.mark.slow
SAMPLES = Path(__file__).parents[3] / "burnish" / "assets" / "samples"


def odd_table(path: Path, number: int) -> Path:
    """Tickets under column names that say nothing, with one row that is there twice."""
    rows = [json.loads(line) for line in (SAMPLES / "tickets.jsonl").read_text().splitlines()[:number]]
    lines = [f"{row['text'].replace(';', ',')};{row['label']}" for row in rows]
    path.write_text("\n".join(["Anfrage;Kategorie", *lines, lines[0]]) + "\n")
    return path


def test_labels_from_a_table_with_odd_columns(studio: Studio, new_tab: Callable[..., Tab], tmp_path: Path) -> None:
    tab = new_tab()
    data = Pages(tab.page, studio.address).upload(odd_table(tmp_path / "Anfragen.csv", 200))
    data.sees("Choose under “Meaning of the columns”")
    data.means("labelled-text", text="Anfrage", label="Kategorie")
    data.sees("rows that duplicate an earlier one")
    data.sees("Rows as the model sees them")
    plan = data.plan()
    plan.sees("It fits:")
    plan.set("Passes over the rows", "3")
    run = plan.start()
    run.trains()
    tab.page.reload()
    run.trains()
    run.is_in("finished")
    run.side("Results")
    run.sees("Base against tuned")
    run.sees("confusion matrix")
    run.side("Answers")
    run.sees("answered by both models")
    run.side("Use")
    tab.page.get_by_label("Text", exact=True).fill("When does the shop open on Monday?")
    run.press("Ask the tuned model")
    tab.page.get_by_label("If that is wrong, choose the right label").select_option("hours")
    run.sees("1 correction")
    run.press("Begin a run with them")
    tab.page.wait_for_url("**/new/draft-*")
    Data(tab.page, studio.address).sees("corrections of Anfragen.jsonl")
    tab.check(studio.address)


def test_a_chat_is_trained_compared_rated_and_exported(studio: Studio, new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    pages = Pages(tab.page, studio.address).open("/new")
    tab.page.get_by_role("button", name="Use these rows").nth(2).click()
    tab.page.wait_for_url("**/new/draft-*")
    pages.sees("Nothing is wrong with these rows.")
    plan = Data(tab.page, studio.address).plan()
    plan.sees("It fits:")
    plan.set("Passes over the rows", "0.4")
    plan.set("Answers to compare", "10")
    run = plan.start()
    run.is_in("finished")
    run.side("Results")
    run.sees("The tuned model is better than the base")
    run.side("Use")
    tab.page.get_by_label("Your message").fill(
        "Write the order record.\n\nA new order: Bella, Starford, 14 plums, Sunday."
    )
    run.press("Send")
    expect(tab.page.get_by_label("Tuned model")).to_contain_text('"customer"')
    run.press("Tuned is better")
    run.sees("1 preference")
    tab.page.get_by_text("A folder for transformers and the hub").locator("..").get_by_role("button").click()
    run.sees("Written, and checked.")
    with tab.page.expect_download() as found:
        tab.page.get_by_role("link", name="Download", exact=True).click()
    row = json.loads(Path(found.value.path()).read_text())
    assert "Bella" in row["chosen"][0]["content"]
    run.press("Begin a run with them")
    tab.page.wait_for_url("**/new/draft-*")
    Data(tab.page, studio.address).sees("for the task preference")
    tab.check(studio.address)


@dataclass(frozen=True)
class Tried:
    """A model that does not write: what it is asked, and how it is corrected."""

    task: str
    example: int
    epochs: str
    asked: dict[str, str]
    shown: str
    wrong: str
    right: str
    row: dict[str, Any]


@pytest.mark.parametrize(
    "tried",
    [
        Tried(
            "tag",
            3,
            "0.2",
            {"Text": "Anna Miller met Tom in Berlin."},
            ".said",
            "Anna Miller",
            "[Anna Miller](PERSON) met Tom in Berlin.",
            {"text": "Anna Miller met Tom in Berlin.", "entities": [{"start": 0, "end": 11, "label": "PERSON"}]},
        ),
        Tried(
            "span",
            5,
            "0.3",
            {"Question": "Who came?", "Text": "Anna came on Monday."},
            "#content h3",
            "Bella",
            "Anna",
            {
                "question": "Who came?",
                "context": "Anna came on Monday.",
                "answers": {"text": ["Anna"], "answer_start": [0]},
            },
        ),
        Tried(
            "score",
            6,
            "0.5",
            {"Text": "I am very happy with it."},
            "#content h3",
            "well",
            "4.5",
            {"text": "I am very happy with it.", "score": 4.5},
        ),
    ],  # fmt: skip
    ids=lambda tried: tried.task,
)
def test_models_that_do_not_write(studio: Studio, new_tab: Callable[..., Tab], tried: Tried) -> None:
    tab = new_tab()
    Pages(tab.page, studio.address).open("/new")
    tab.page.get_by_role("button", name="Use these rows").nth(tried.example).click()
    tab.page.wait_for_url("**/new/draft-*")
    plan = Data(tab.page, studio.address).plan()
    plan.sees("It fits:")
    plan.set("Passes over the rows", tried.epochs)
    run = plan.start()
    run.is_in("finished")
    run.side("Use")
    for label, text in tried.asked.items():
        tab.page.get_by_label(label, exact=True).fill(text)
    run.press("Ask the tuned model")
    expect(tab.page.locator(tried.shown).last).to_be_visible()
    correction = tab.page.get_by_label(re.compile("^If that is wrong"))
    correction.fill(tried.wrong)
    run.press("Keep it")
    expect(tab.page.get_by_role("alert")).to_be_visible()
    correction.fill(tried.right)
    run.press("Keep it")
    run.sees("1 correction")
    with tab.page.expect_download() as found:
        tab.page.get_by_role("link", name="Download", exact=True).click()
    assert json.loads(Path(found.value.path()).read_text()) == tried.row
    run.press("Begin a run with them")
    tab.page.wait_for_url("**/new/draft-*")
    Data(tab.page, studio.address).sees(f"for the task {tried.task}")
    tab.check(studio.address)


def test_preferences_are_learned(studio: Studio, new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    Pages(tab.page, studio.address).open("/new")
    tab.page.get_by_role("button", name="Use these rows").nth(4).click()
    tab.page.wait_for_url("**/new/draft-*")
    plan = Data(tab.page, studio.address).plan()
    plan.sees("It fits:")
    plan.set("Passes over the rows", "0.3")
    plan.set("Answers to compare", "4")
    run = plan.start()
    run.is_in("finished")
    run.side("Use")
    tab.page.get_by_label("Your message").fill("I baked a cake today.")
    run.press("Send")
    run.sees("Which answer is better?")
    tab.check(studio.address)


def test_hostile_rows_labels_and_names_are_shown_as_text(
    studio: Studio, new_tab: Callable[..., Tab], tmp_path: Path
) -> None:
    """Markup and scripts in rows, labels, columns, file, run, notes and tags: nothing of it runs."""
    evil = "<img src=x onerror=alert(1)>"
    labels = ("<script>alert(2)</script>", '"><svg onload=alert(3)>', "{{ 7*7 }} ${alert(4)}")
    rows = [
        {f"<b onclick=alert(5)>{evil}": f"{evil} number {number} `</code><script>alert(6)</script>`", "kind": label}
        for number in range(60)
        for label in labels
    ]
    path = tmp_path / f"{evil}.jsonl".replace("/", "")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tab = new_tab()
    data = Pages(tab.page, studio.address).upload(path)
    data.means("labelled-text", text=next(iter(rows[0])), label="kind")
    data.sees("Rows as the model sees them")
    tab.page.get_by_label("Name of the run").fill(evil)
    tab.page.get_by_label("Name of the run").press("Enter")
    plan = data.plan()
    plan.sees("It fits:")
    plan.set("Passes over the rows", "1")
    run = plan.start()
    run.is_in("finished")
    for side in ("Results", "Answers", "Settings", "Progress", "Use"):
        run.side(side)
        run.sees(evil)
        if side == "Settings":
            for label in ("Note", "Tags, separated by commas", "Name"):
                tab.page.get_by_label(label, exact=True).fill(f"{evil} {label}")
                tab.page.get_by_label(label, exact=True).press("Tab")
            run.sees("Saved.")
    tab.page.get_by_label("Text", exact=True).fill(evil)
    run.press("Ask the tuned model")
    run.sees("Probabilities in percent.")
    pages = Pages(tab.page, studio.address)
    for place in ("/", f"/compare/{run.name},{run.name}", "/new"):
        pages.open(place)
    pages.open("/").sees(evil)
    assert tab.page.locator("img, #content svg[onload], #content b[onclick]").count() == 0
    tab.check(studio.address)


def test_the_settings_of_another_run_never_show(studio: Studio, new_tab: Callable[..., Tab]) -> None:
    tab = new_tab()
    pages = Pages(tab.page, studio.address)
    pages.open("/new")
    addresses = []
    for number in (1, 2):
        pages.open("/new")
        tab.page.get_by_role("button", name="Use these rows").nth(number).click()
        tab.page.wait_for_url("**/new/draft-*")
        addresses.append(f"{tab.page.url}/plan".removeprefix(studio.address))
    pages.open(addresses[0])
    Plan(tab.page, studio.address).set("Passes over the rows", "7")
    expect(tab.page.get_by_label("Recipe, as YAML")).to_have_value(re.compile("epochs: 7"))
    pages.open(addresses[1])
    expect(tab.page.get_by_label("Passes over the rows", exact=True)).not_to_have_value("7")
    pages.open(addresses[0])
    expect(tab.page.get_by_label("Passes over the rows", exact=True)).to_have_value("7")
