"""The way through a first run, and the glossary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from burnish.glossary import Term, grouped, load_glossary
from burnish.studio.frame import LEARN, frame
from burnish.studio.pages.new_page import begin_example
from burnish.studio.parts import button, details, empty, field, group, part, prose

if TYPE_CHECKING:
    from burnish.studio.project import Project

WALK = (
    ("Check the rows", "Burnish reads them, says what it understood, and names what is wrong with which row."),
    ("Read the plan", "What fits into the memory of this machine, how long it takes, and why it chose what it did."),
    ("Train", "The loss falls. You can close the page, pause, or switch the studio off: nothing is lost."),
    ("Read the verdict", "Base against tuned on rows that chose nothing, with intervals: better, worse or undecided."),
    ("Use it", "Ask both models the same thing side by side, mark good answers, and train again with them."),
)


async def learn_page(project: Project) -> None:
    """The page."""
    with frame(project, "Learn", LEARN):
        part("h1", "Fine-tuning in three minutes")
        prose("A base model knows language. Fine-tuning shows it your rows until it answers as they do.", "lead")
        with group("card", "section"):
            walk(project)
        with group("card", "section"):
            part("h2", "Glossary")
            _glossary()


def walk(project: Project) -> None:
    """The steps of a first run with the bundled example."""
    with group("halves"):
        for place, (title, text) in enumerate(WALK, 1):
            with group():
                part("h3", f"{place}. {title}")
                part("p", text, "help")
    button("Start with the example", lambda: begin_example(project, "classify"), "primary")


def _glossary() -> None:
    terms = load_glossary()

    def search(words: str) -> None:
        wanted = words.casefold().strip()
        found = [one for one in terms if wanted in " ".join((one.name, *one.aliases, one.meaning)).casefold()]
        shown.clear()
        with shown:
            if not found:
                empty("No such term", f"Nothing in the glossary mentions “{words.strip()[:60]}”.")
            for heading, some in grouped(found).items():
                with details(f"{heading} ({len(some)})", is_open=bool(wanted)):
                    for term in some:
                        _term(term)

    field("Search", search, live=True, type="search", placeholder="learning rate")
    shown = part("div")
    search("")


def _term(term: Term) -> None:
    with group("term-card"):
        part("h3", term.name)
        if term.aliases:
            part("p", f"Also: {', '.join(term.aliases)}", "help")
        prose(term.meaning)
        prose(term.setting, "help")
        prose(term.trouble, "help")
