"""All runs: what trains, what waits, what came of them; searched, tagged, compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from nicegui import ui

from burnish.jobs.job import QUEUED, RUNNING, VALIDATING
from burnish.report.figures import counted, duration
from burnish.studio.frame import NEW, RUNS, frame, run_page, state_mark
from burnish.studio.pages.learn_page import walk
from burnish.studio.parts import button, choice, field, group, link, part, prose

if TYPE_CHECKING:
    from burnish.studio.project import Entry, Project

_PAGE = 25
_REFRESH_SECONDS = 2.0
_MOST_COMPARED = 6
_ACTIVE = (RUNNING, QUEUED, VALIDATING)


async def runs_page(project: Project) -> None:
    """The page."""
    entries = await asyncio.to_thread(project.entries)
    with frame(project, "Runs", RUNS):
        if not entries and not project.deleted():
            _welcome(project)
            return
        with group("head"):
            part("h1", "Runs")
            link("New run", NEW, "button primary")
        _deleted(project)
        RunList(project, entries)


def _welcome(project: Project) -> None:
    part("h1", "Teach a model your own examples")
    prose("On this machine, with proof that the result is better than the base. Nothing leaves it.", "lead")
    with group("card", "section"):
        part("h2", "The first run takes about three minutes")
        walk(project)
    with group("row"):
        link("Use my own rows", NEW, "button")


def _deleted(project: Project) -> None:
    for entry in project.deleted():
        left = duration(project.notes.of(entry.id).seconds_left)
        with group("notice note row", role="status"):
            part("span", f"“{entry.name}” was deleted. Its files are removed in {left}.")

            def undo(run: str = entry.id) -> None:
                project.notes.restore(run)
                ui.navigate.reload()

            button("Undo", undo, "small")


class RunList:
    """The list, which follows what happens.

    Args:
        project: of the runs.
        entries: all of them, the newest first.
    """

    def __init__(self, project: Project, entries: Sequence[Entry]) -> None:
        self._project, self._entries = project, entries
        self._words, self._state, self._tag, self._page = "", "", "", 0
        self._chosen: dict[str, None] = {}
        tags = sorted({tag for one in entries for tag in one.tags})
        with group("row fields"):
            field("Search", self._search, live=True, type="search", placeholder="name or source")
            states = {"": "all", "active": "training or waiting", "succeeded": "finished", "failed": "failed"}
            choice("State", self._pick_state, states, "")
            if tags:
                choice("Tag", self._pick_tag, {"": "all", **{tag: tag for tag in tags}}, "")
        with group("row") as bar:
            self._bar = bar
        with group("card") as shown:
            self._shown = shown
        self._drawn: list[tuple[str, ...]] = []
        self._draw()
        ui.timer(_REFRESH_SECONDS, self._refresh)

    async def _refresh(self) -> None:
        self._entries = await asyncio.to_thread(self._project.entries)
        if self._lines() != self._drawn:
            self._draw()

    def _search(self, words: str) -> None:
        self._words, self._page = words.casefold().strip(), 0
        self._draw()

    def _pick_state(self, state: str) -> None:
        self._state, self._page = state, 0
        self._draw()

    def _pick_tag(self, tag: str) -> None:
        self._tag, self._page = tag, 0
        self._draw()

    def _turn(self, by: int) -> None:
        self._page += by
        self._draw()

    def _choose(self, run: str, is_chosen: bool) -> None:
        self._chosen.pop(run, None)
        if is_chosen:
            self._chosen[run] = None
        self._draw_bar()

    def _found(self) -> list[Entry]:
        def fits(one: Entry) -> bool:
            words = f"{one.name} {one.id} {' '.join(one.tags)}".casefold()
            state = one.state in _ACTIVE if self._state == "active" else self._state in ("", one.state)
            return self._words in words and state and (not self._tag or self._tag in one.tags)

        return [one for one in self._entries if fits(one)]

    def _lines(self) -> list[tuple[str, ...]]:
        """What the list shows, as text: it is drawn again only when that changes."""
        found = self._found()
        part_of = found[self._page * _PAGE : (self._page + 1) * _PAGE]
        return [
            (str(len(found)),),
            *((one.id, one.name, one.state, _progress(one), one.result, *one.tags) for one in part_of),
        ]

    def _draw_bar(self) -> None:
        self._bar.clear()
        with self._bar:
            if 2 <= len(self._chosen) <= _MOST_COMPARED:
                names = quote(",".join(self._chosen), safe=",")
                link(f"Compare {len(self._chosen)} runs", f"/compare/{names}", "button")
            elif self._chosen:
                part("span", f"Choose 2 to {_MOST_COMPARED} runs to compare them.", "help")

    def _draw(self) -> None:
        self._drawn = self._lines()
        found = self._found()
        last = max(0, (len(found) - 1) // _PAGE)
        self._page = min(max(self._page, 0), last)
        self._draw_bar()
        self._shown.clear()
        with self._shown:
            if not found:
                prose("No run matches.", "help")
                return
            with group("runs", "table"):
                with group("", "thead"), group("", "tr"):
                    for column in ("", "run", "state", "result", "begun"):
                        part("th", column or " ", scope="col")
                with group("", "tbody"):
                    for one in found[self._page * _PAGE : (self._page + 1) * _PAGE]:
                        self._row(one)
            if last:
                self._pages(len(found), last)

    def _row(self, one: Entry) -> None:
        with group("", "tr"):
            with group("", "td"):
                box = part("input", type="checkbox", aria_label=f"Compare {one.name}")
                if one.id in self._chosen:
                    box.props["^checked"] = ""
                box.on(
                    "change",
                    lambda event, run=one.id: self._choose(run, bool(event.args)),
                    js_handler="(event) => emit(event.target.checked)",
                )
            with group("", "td"):
                link(one.name, run_page(one.id))
                _under(one)
            with group("", "td"):
                state_mark(one.state)
            part("td", one.result or _progress(one) or " ", "less")
            part("td", time.strftime("%Y-%m-%d %H:%M", time.localtime(one.created)), "less")

    def _pages(self, number: int, last: int) -> None:
        first = self._page * _PAGE + 1
        with group("row", "nav", aria_label="Pages"):
            back = button("Newer", lambda: self._turn(-1), "small")
            part("span", f"{first:,} to {min(first + _PAGE - 1, number):,} of {counted(number, 'run')}", "help")
            onward = button("Older", lambda: self._turn(1), "small")
            for made, is_off in ((back, self._page == 0), (onward, self._page == last)):
                if is_off:
                    made.props["disabled"] = True


def _under(one: Entry) -> None:
    source = str(one.viewed.job.details.get("source", "")) if one.viewed else str(one.run.path)
    with group("where", "span"):
        part("span", source)
        for tag in one.tags:
            part("span", tag, "tag")


def _progress(one: Entry) -> str:
    course = one.viewed.course if one.viewed else None
    if one.state in (QUEUED, VALIDATING):
        starts = one.viewed.starts if one.viewed else None
        return f"starts in about {duration(max(0.0, starts - time.time()))}" if starts else "waits for its turn"
    if course is None:
        return ""
    if one.state != RUNNING:
        return f"{course.step:,} steps"
    left = f", about {duration(max(0.0, course.ends - time.time()))} left" if course.ends else ""
    return f"{course.stage}: {course.step:,} of {course.total_steps or 0:,} steps{left}"
