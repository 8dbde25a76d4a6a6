"""Pages as a user sees them: what tests do and read on each, by the words on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import expect

expect.set_options(timeout=120_000)


class Studio:
    """The pages of a studio.

    Args:
        page: of the browser.
        address: of the studio.
    """

    def __init__(self, page: Any, address: str) -> None:
        self.page, self.address = page, address

    def open(self, path: str = "/") -> Studio:
        """Goes to a page, and waits until it is shown."""
        self.page.goto(f"{self.address}{path}")
        expect(self.page.locator("h1")).to_be_visible()
        return self

    def sees(self, text: str) -> None:
        """Waits until a text is shown."""
        expect(self.page.get_by_text(text).filter(visible=True).first).to_be_visible()

    def upload(self, path: Path) -> Data:
        """Gives a file, and waits for the page of its rows."""
        self.open("/new")
        self.page.get_by_label("Choose a file with rows").set_input_files(str(path))
        self.page.wait_for_url("**/new/draft-*")
        return Data(self.page, self.address)


class Data(Studio):
    """The rows of a draft."""

    def means(self, shape: str, **columns: str) -> None:
        """Says what a row is, and which column holds what."""
        self.page.get_by_label("One row is").select_option(shape)
        for field, column in columns.items():
            self.page.get_by_label(f"Column for “{field}”").select_option(column)

    def plan(self) -> Plan:
        """Goes on to model and plan."""
        self.page.get_by_role("link", name="Continue to model and plan").click()
        self.page.wait_for_url("**/plan")
        return Plan(self.page, self.address)


class Plan(Studio):
    """Model and plan of a draft."""

    def set(self, label: str, value: str) -> None:
        """Fills a field."""
        field = self.page.get_by_label(label, exact=True)
        field.fill(value)
        field.press("Enter")

    def start(self) -> Run:
        """Starts the training."""
        self.page.get_by_role("button", name="Start training").click()
        self.page.wait_for_url("**/runs/ftjob-*")
        return Run(self.page, self.address)


class Run(Studio):
    """The progress of a run, and its other sides."""

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.page.url.split("/runs/")[1].partition("/")[0]

    def side(self, title: str) -> None:
        """Goes to a side of the run."""
        self.page.get_by_label("Sides of this run").get_by_role("link", name=title).click()
        expect(self.page.get_by_label("Sides of this run").get_by_role("link", name=title)).to_have_attribute(
            "aria-current", "page"
        )

    def press(self, name: str) -> None:
        """Presses a button, which is there in time."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def trains(self) -> None:
        """Waits until it takes steps."""
        expect(self.page.get_by_text("Now: training", exact=True).first).to_be_visible()

    def is_in(self, state: str) -> None:
        """Waits until it is in a state."""
        expect(self.page.locator(".state").first).to_have_text(state)
