"""The frame of every page: its title, the way around, and what trains at the moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from nicegui import ui

from burnish.jobs.job import INTERRUPTED, PAUSED, QUEUED, RUNNING, VALIDATING
from burnish.report.figures import counted
from burnish.studio.parts import Part, group, link, part, prose

if TYPE_CHECKING:
    from burnish.studio.drafts import Draft
    from burnish.studio.project import Entry, Project

RUNS, NEW, LEARN = "/", "/new", "/learn"
_PLACES = ((RUNS, "Runs"), (NEW, "New run"), (LEARN, "Learn"))
_STEPS = ("Data", "Model and plan", "Train")
_LIVE_SECONDS = 3.0
SCHEME_COOKIE = "burnish_scheme"
SCHEMES = {"system": "Colours of the system", "light": "Light colours", "dark": "Dark colours"}
STATES = {
    VALIDATING: "waiting",
    QUEUED: "waiting",
    RUNNING: "running",
    PAUSED: "paused",
    INTERRUPTED: "interrupted",
    "succeeded": "finished",
    "failed": "failed",
    "cancelled": "cancelled",
    "unfinished": "not finished",
    "damaged": "damaged",
}
"""States as pages show them."""


@contextmanager
def frame(project: Project, title: str, here: str = "") -> Iterator[Part]:
    """A page.

    Args:
        project: that is shown.
        title: in the browser's bar.
        here: which of the places in the navigation this is.
    """
    ui.page_title(f"{title} · Burnish")
    part("a", "Skip to the content", "skip", href="#content")
    with group("top", "header"), group("top-inner"):
        link("Burnish", RUNS, "brand-link")
        with group("", "nav", aria_label="Places"):
            for place, name in _PLACES:
                link(name, place, aria_current="page" if place == here else None)
        _scheme_choice()
        live = group("live", role="status", aria_live="polite")
        with live as shown:
            _add_live(project, shown)
    with group("page", id="content") as content:
        yield content


@contextmanager
def draft_frame(project: Project, draft: Draft, now: int) -> Iterator[Part]:
    """The page of a draft.

    Args:
        project: that has the draft.
        draft: that is shown.
        now: its step, from 0.
    """
    with frame(project, f"{_STEPS[now]}: {draft.name}", NEW) as content:
        part("h1", draft.name)
        prose(f"Rows from {draft.source}", "lead")
        steps(now, [f"/new/{draft.id}", f"/new/{draft.id}/plan"])
        yield content


def steps(now: int, links: Sequence[str]) -> None:
    """The way from rows to a training.

    Args:
        now: the step of this page, from 0.
        links: the pages of the steps that can be gone to.
    """
    with group("steps", "ol", aria_label="Steps"):
        for place, name in enumerate(_STEPS):
            current = "step" if place == now else None
            with group("done" if place < now else "", "li", aria_current=current):
                link(name, links[place]) if place < len(links) and place != now else part("span", name)


def state_mark(state: str) -> Part:
    """The state of a run as a word with a mark of its own, not by colour alone."""
    return part("span", STATES.get(state, state), f"state {state}")


def run_page(run_id: str, tab: str = "") -> str:
    """The address of a run's page."""
    return f"/runs/{quote(run_id, safe='')}" + (f"/{tab}" if tab else "")


def _scheme_choice() -> None:
    """Light, dark, or as the system has it: `studio.js` applies and keeps it, in a cookie that this reads."""
    request = ui.context.client.request
    now = request.cookies.get(SCHEME_COOKIE) if request is not None else None
    with group("scheme", "label"):
        part("span", "Colours", "visually-hidden")
        with group("input", "select", data_scheme=""):
            for value, name in SCHEMES.items():
                part("option", name, value=value, **({"^selected": ""} if value == now else {}))


def _add_live(project: Project, shown: Part) -> None:
    """What trains now, kept up to date."""
    said: list[tuple[str, str]] = []

    async def refresh() -> None:
        found = await asyncio.to_thread(_live, project.entries())
        if found != said:
            said[:] = found
            shown.clear()
            with shown:
                for text, to in found:
                    link(text, to) if to else part("span", text)

    ui.timer(_LIVE_SECONDS, refresh)


def _live(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    running = [one for one in entries if one.state == RUNNING]
    waiting = sum(one.state in (QUEUED, VALIDATING) for one in entries)
    if not running:
        return [(f"{counted(waiting, 'run')} waiting", "")] if waiting else []
    first = running[0]
    course = first.viewed.course if first.viewed else None
    done = f" {100 * course.step // course.total_steps} %" if course and course.total_steps else ""
    name = first.name if len(first.name) <= 28 else f"{first.name[:27]}…"
    more = f", {waiting} waiting" if waiting else ""
    return [(f"Training {name}{done}{more}", run_page(first.id))]
