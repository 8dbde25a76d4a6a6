"""One run: how it goes, what came of it, and with which settings; rebuilt from its folder for each browser."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nicegui import ui

from burnish.errors import BurnishError, InputError
from burnish.jobs.job import (
    ENDED,
    FAILED,
    INTERRUPTED,
    PAUSED,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    VALIDATING,
)
from burnish.report.figures import duration, number
from burnish.runs.event_log import read_events
from burnish.studio.curves import GRADIENT, RATE, SPEED, TRAINING, VALIDATION, loss_chart, small_chart
from burnish.studio.frame import RUNS, frame, state_mark
from burnish.studio.frame import run_page as address
from burnish.studio.pages.results import show_results
from burnish.studio.pages.settings import show_settings
from burnish.studio.pages.story import draw_events, draw_samples, samples_of, sentences
from burnish.studio.parts import (
    Part,
    button,
    empty,
    group,
    link,
    loading,
    markup,
    notice,
    part,
    prose,
    refusal,
)
from burnish.system.machine import memory_size

if TYPE_CHECKING:
    from burnish.studio.project import Entry, Project

_REFRESH_SECONDS = 1.0
_TABS = {"": "Progress", "results": "Results", "answers": "Answers", "settings": "Settings"}
_MOST_SAID = 60
_SMALL = (RATE, GRADIENT, SPEED)


async def run_page(project: Project, run_id: str, tab: str = "") -> None:
    """The page.

    Args:
        project: of the run.
        run_id: the name of its folder.
        tab: which side of it.
    """
    entry = await asyncio.to_thread(project.entry, run_id)
    with frame(project, entry.name):
        head(entry, tab, has_state=tab != "")
        if tab == "settings":
            show_settings(project, entry)
        elif tab in ("results", "answers"):
            await show_results(project, entry, tab)
        else:
            Progress(project, entry)


def head(entry: Entry, here: str, has_state: bool = True) -> None:
    """The name of a run, and the way to its other sides.

    Args:
        entry: the run.
        here: the side of this page.
        has_state: whether its state is shown here; a page that follows it shows it itself.
    """
    with group("crumbs", "p"):
        link("Runs", RUNS)
        part("span", f" / {entry.name}")
    with group("head"), group():
        part("h1", entry.name)
        with group("row"):
            if has_state:
                state_mark(entry.state)
            for tag in entry.tags:
                part("span", tag, "tag")
    with group("tabs", "nav", aria_label="Sides of this run"):
        for tab, title in {**_TABS, "use": "Use"}.items():
            link(title, address(entry.id, tab), aria_current="page" if tab == here else None)


class Progress:
    """How a run goes: it follows the run's own files, so that a reload or another browser shows the same.

    Args:
        project: of the run.
        entry: the run.
    """

    def __init__(self, project: Project, entry: Entry) -> None:
        self._project, self._entry = project, entry
        self._drawn: dict[str, Any] = {}
        with group("card", "section", aria_label="State"):
            self._top = part("div")
            self._controls = part("div", kind="row")
            self._said = part("div", role="status")
        with group("columns"):
            with group():
                with group("card", "section"):
                    part("h2", "Loss")
                    self._chart = part("div")
                with group("card", "section"):
                    part("h2", "What it answers so far")
                    self._answers = part("div")
                with group("card", "section"):
                    part("h2", "Rate, gradient and speed")
                    self._small = part("div", kind="small-curves")
            with group("card", "section"):
                part("h2", "What happened")
                self._events = part("div")
        self._log_size = -1
        self._of_run: list[tuple[float, str, str]] = []
        self._memory: int | None = None
        self._samples: tuple[Any, Any] = (None, None)
        ui.timer(_REFRESH_SECONDS, self._refresh)

    async def _refresh(self) -> None:
        try:
            entry, curves, said = await asyncio.to_thread(self._read)
        except InputError as error:
            found = error
            self._put("top", self._top, str(found), lambda: refusal(found))
            return
        self._entry = entry
        course = entry.viewed.course if entry.viewed else None
        second = int(time.time()) if entry.state == RUNNING else 0
        self._put("top", self._top, (entry.state, course, second), lambda: self._draw_top(entry))
        self._put("controls", self._controls, entry.state, lambda: self._draw_controls(entry))
        self._put("said", self._said, (entry.state, entry.viewed and entry.viewed.job.said), lambda: _failure(entry))
        total = self._project.curves_of(entry.run).total_steps
        losses = {name: curves.get(name, []) for name in (TRAINING, VALIDATION)}
        self._put("chart", self._chart, _ends(losses), lambda: _draw_losses(losses, total, entry.state))
        smaller = {name: curves.get(name, []) for name in (*_SMALL, *_figures(curves))}
        self._put("small", self._small, _ends(smaller), lambda: _draw_small(smaller, total))
        self._put("events", self._events, said, lambda: draw_events(said))
        samples = self._samples
        self._put("answers", self._answers, samples, lambda: draw_samples(*samples))

    def _read(self) -> tuple[Entry, dict[str, Any], list[tuple[str, str]]]:
        entry = self._project.entry(self._entry.id)
        self._memory = self._project.memory_of(entry)
        curves = self._project.curves_of(entry.run).read()
        return entry, curves, self._read_events(entry)

    def _read_events(self, entry: Entry) -> list[tuple[str, str]]:
        """What happened, the newest first; read again only when the log has grown."""
        said = [(one["time"], one["level"], one["text"]) for one in entry.viewed.job.said] if entry.viewed else []
        size = entry.run.events.stat().st_size if entry.run.events.is_file() else 0
        if size != self._log_size:
            self._log_size = size
            events = read_events(entry.run.events) if size else []
            self._of_run, self._samples = sentences(events), samples_of(events)
        ordered = sorted([*self._of_run, *said], key=lambda one: one[0])
        source = str(entry.viewed.job.details.get("source", "")) if entry.viewed else ""
        return [(level, self._project.named(text, source)) for _, level, text in ordered[-_MOST_SAID:][::-1]]

    def _put(self, name: str, shown: Part, content: Any, draw: Callable[[], None]) -> None:
        """Draws a part of the page again if what it shows has changed."""
        if name in self._drawn and self._drawn[name] == content:
            return
        self._drawn[name] = content
        shown.clear()
        with shown:
            draw()

    def _draw_top(self, entry: Entry) -> None:
        course = entry.viewed.course if entry.viewed else None
        with group("row"):
            state_mark(entry.state)
            part("strong", _sentence(entry), "strong")
        if course is None:
            return
        total = course.total_steps or 0
        if entry.state == RUNNING or total:
            share = 100 * course.step / total if total else 0
            with group("progress", role="progressbar", aria_valuemin=0, aria_valuemax=total or 1,
                       aria_valuenow=course.step, aria_label="Steps"):  # fmt: skip
                part("i", style=f"width:{share:.1f}%")
        with group("tiles", "dl"):
            for name, value in (
                ("step", f"{course.step:,} of {total:,}" if total else ""),
                ("training loss", f"{number(course.loss)} nats" if course.loss is not None else ""),
                ("validation loss", f"{number(course.validation_loss)} nats" if course.validation_loss else ""),
                ("tokens so far", f"{course.tokens:,}" if course.tokens else ""),
                ("memory now", memory_size(self._memory) if self._memory else ""),
                ("time left", _left(course.ends) if entry.state == RUNNING else ""),
            ):
                if value:
                    with group("tile"):
                        part("dt", name)
                        part("dd", value)

    def _draw_controls(self, entry: Entry) -> None:
        queue, run = self._project.queue, entry.id
        if entry.viewed is None:
            prose("Another command made this run, so it is only shown here.", "help")
        elif entry.state in (RUNNING, QUEUED, VALIDATING):
            button("Pause", lambda: self._do(queue.pause, run))
            self._asking("Cancel", "Cancel for good?", lambda: self._do(queue.cancel, run))
        elif entry.state in (PAUSED, INTERRUPTED):
            button("Resume", lambda: self._do(queue.resume, run), "primary")
            self._asking("Cancel", "Cancel for good?", lambda: self._do(queue.cancel, run))
        elif entry.state == FAILED:
            button("Try again", lambda: self._do(queue.resume, run), "primary")
        if entry.state == SUCCEEDED:
            link("Read the verdict", address(run, "results"), "button primary")
            link("Use it", address(run, "use"), "button")

    async def _do(self, action: Callable[[str], Any], run: str) -> None:
        try:
            await asyncio.to_thread(action, run)
        except BurnishError as error:
            with self._said:
                refusal(error)
        self._drawn.pop("controls", None)
        await self._refresh()

    def _asking(self, text: str, question: str, action: Callable[[], Any]) -> None:
        """A button that asks before it acts."""
        place = part("span", kind="row")

        def ask() -> None:
            place.clear()
            with place:
                part("span", question, "strong")
                button(f"{text} it", action, "danger")
                button("No", lambda: restore(), "quiet")

        def restore() -> None:
            place.clear()
            with place:
                button(text, ask)

        restore()


def _sentence(entry: Entry) -> str:
    course = entry.viewed.course if entry.viewed else None
    starts = entry.viewed.starts if entry.viewed else None
    if entry.state == RUNNING:
        return f"Now: {course.stage}" if course and course.stage else "Getting ready"
    if entry.state in (QUEUED, VALIDATING):
        about = f" It starts in about {duration(max(0.0, starts - time.time()))}." if starts else ""
        return f"Waits for its turn.{about}"
    return {
        PAUSED: "Paused. It goes on exactly where it stopped.",
        INTERRUPTED: "Its process ended before the work was done. Resume it to go on from its last checkpoint.",
        SUCCEEDED: "Done.",
        FAILED: "It has failed.",
        "cancelled": "Cancelled. What it had written stays.",
    }.get(entry.state, "")


def _left(ends: float | None) -> str:
    return "not known yet" if ends is None else f"about {duration(max(0.0, ends - time.time()))}"


def _failure(entry: Entry) -> None:
    if entry.state == FAILED and entry.viewed:
        failure = entry.viewed.folder.failure()
        if failure:
            refusal(failure)
        elif entry.viewed.job.said:
            notice(entry.viewed.job.said[-1]["text"], "bad", "alert")
    elif entry.state == INTERRUPTED:
        notice("The process was killed, or the machine was switched off. Nothing is lost.", "warning")


def _ends(curves: dict[str, Any]) -> list[Any]:
    """What decides whether curves have to be drawn again: their lengths and last points."""
    return [(name, len(points), points[-1] if points else None) for name, points in curves.items()]


def _figures(curves: dict[str, Any]) -> list[str]:
    return [name for name in curves if name not in (TRAINING, VALIDATION, *_SMALL)][:3]


def _draw_losses(losses: dict[str, Any], total: int, state: str) -> None:
    drawn = loss_chart(losses, total)
    if drawn:
        markup(drawn, "drawn")
        prose("Points are steps, the grey line their mean, the blue line the validation rows.", "help")
    elif state in ENDED:
        empty("No curve", "It ended before its first step.")
    else:
        loading("The curve begins with the first step")


def _draw_small(curves: dict[str, Any], total: int) -> None:
    if not any(curves.values()):
        prose("None yet: they begin with the first step.", "help")
    for name, points in curves.items():
        if points:
            markup(small_chart(name, points, total))
