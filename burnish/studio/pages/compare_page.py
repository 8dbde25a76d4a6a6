"""Several runs beside each other: curves above each other, results, and which options differ."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nicegui import ui

from burnish.errors import InputError
from burnish.jobs.job import SUCCEEDED
from burnish.report.figures import number, with_interval
from burnish.runs.damage import DamagedRun
from burnish.runs.description import evaluation_of
from burnish.studio.commands import BUSY, DONE, FAILED, compare_words
from burnish.studio.curves import TRAINING, VALIDATION, overlaid_chart
from burnish.studio.frame import RUNS, frame, run_page
from burnish.studio.pages.settings import recipe_rows, shown_value
from burnish.studio.parts import button, empty, group, link, loading, markup, notice, part, prose, refusal, table

if TYPE_CHECKING:
    from burnish.studio.project import Entry, Project

_MOST = 6
_POLL_SECONDS = 1.0
_NAMES = ("name", "runs")


async def compare_page(project: Project, names: str) -> None:
    """The page.

    Args:
        project: of the runs.
        names: of their folders, separated by commas.
    """
    wanted = list(dict.fromkeys(name for name in names.split(",") if name))[:_MOST]
    runs = [await asyncio.to_thread(project.entry, name) for name in wanted]
    with frame(project, "Compare runs", RUNS):
        part("h1", "Compare runs")
        prose(", ".join(f"“{run.name}”" for run in runs), "lead")
        if len(runs) < 2:
            empty("Choose at least two runs", "Tick them in the list of runs.")
            link("All runs", RUNS, "button")
            return
        try:
            _results(runs)
            if all(run.state == SUCCEEDED for run in runs):
                SameRows(project, runs)
            for name in (VALIDATION, TRAINING):
                await _curves(project, runs, name)
            _differences(runs)
        except InputError as error:
            refusal(error)


def _results(runs: Sequence[Entry]) -> None:
    with group("card", "section"):
        part("h2", "Results")
        found = [_evaluation(run) for run in runs]
        figures = list(dict.fromkeys(one["name"] for each in found for one in each.get("figures", ())))
        rows = [["verdict", *(str(each.get("verdict", "not evaluated")) for each in found)]]
        rows += [[name, *(_figure(each, name) for each in found)] for name in figures]
        rows.append(["evaluated on", *(f"{each['rows']:,} rows" if each.get("rows") else "" for each in found)])
        table(("", *(run.name for run in runs)), rows, caption="Tuned models, with 95 % intervals, and their bases")
        prose("Each on its own test rows.", "help")
        with group("row"):
            for run in runs:
                link(run.name, run_page(run.id, "results"))


class SameRows:
    """The runs on the same rows, which none was trained on: whether their difference is more than noise.

    Args:
        project: of the runs.
        runs: that are finished.
    """

    def __init__(self, project: Project, runs: Sequence[Entry]) -> None:
        self._commands, self._runs = project.commands, runs
        self._words = compare_words([run.run.path for run in runs])
        self._state = ""
        with group("card", "section"):
            part("h2", "On the same rows")
            prose("Evaluates these models on rows that none of them was trained on, beyond chance or not.", "help")
            self._shown = part("div", role="status")
        ui.timer(_POLL_SECONDS, self._refresh)

    async def _refresh(self) -> None:
        found = await asyncio.to_thread(self._commands.state, self._words)
        if found.state == self._state or self._shown.is_deleted:
            return
        self._state = found.state
        self._shown.clear()
        with self._shown:
            if found.state == BUSY:
                loading("Evaluating the models one by one")
            elif found.state == DONE:
                self._draw(found.found)
            elif found.state == FAILED:
                refusal({name: self._named(str(text)) for name, text in found.found["error"].items()})
            if found.state not in (BUSY, DONE):
                button("Compare them", self._begin)

    async def _begin(self) -> None:
        await asyncio.to_thread(self._commands.start, self._words)
        await self._refresh()

    def _draw(self, found: Mapping[str, Any]) -> None:
        notice(self._named(found["verdict"]), "note")
        rows = [
            [
                self._named(f"{figure['name']}: {found['labels'][pair['second']]} - {found['labels'][pair['first']]}"),
                _difference(pair["change"], figure["is_share"]),
                f"{pair['raised_chance']:.3f}",
                "shown" if pair["is_shown"] else "not shown",
            ]
            for figure in found["figures"]
            for pair in figure["pairs"]
        ]
        table(
            ("difference", "by all noise [95 %]", "p", ""), rows, (1, 2), f"{found['rows']:,} rows, {found['held_out']}"
        )
        for remark in found["remarks"]:
            prose(self._named(remark), "help")

    def _named(self, text: str) -> str:
        """A sentence with the names of the runs in place of those of their folders."""
        for run in self._runs:
            text = text.replace(f"`{run.id}`", f"“{run.name}”").replace(run.id, run.name)
        return text


def _difference(change: Mapping[str, float | None], is_share: bool) -> str:
    """A difference with its interval; one of shares in percentage points."""
    if not is_share:
        return with_interval(change, is_share=False)
    value, low, high = (
        "?" if one is None else f"{100 * one:+.1f}" for one in map(change.get, ("value", "low", "high"))
    )
    return f"{value} points [{low}, {high}]"


def _evaluation(run: Entry) -> dict[str, Any]:
    try:
        return evaluation_of(run.run) or {}
    except DamagedRun:
        return {"verdict": "its evaluation is damaged"}


def _figure(evaluation: dict[str, Any], name: str) -> str:
    one = next((figure for figure in evaluation.get("figures", ()) if figure["name"] == name), None)
    if one is None:
        return ""
    is_share = bool(one["is_share"])
    return f"{with_interval(one['tuned'], is_share)}, base {number(one['base']['value'], is_share)}"


async def _curves(project: Project, runs: Sequence[Entry], name: str) -> None:
    def read() -> list[tuple[str, list[tuple[float, float]]]]:
        return [(run.name, project.curves_of(run.run).read().get(name, [])) for run in runs]

    drawn = overlaid_chart(name, await asyncio.to_thread(read))
    if drawn:
        with group("card", "section"):
            part("h2", name.capitalize())
            markup(drawn, "drawn")


def _differences(runs: Sequence[Entry]) -> None:
    recipes = [recipe_rows(run) for run in runs]
    names = dict.fromkeys(name for recipe in recipes for name in recipe if name not in _NAMES)
    differ = [name for name in names if len({shown_value(recipe.get(name)) for recipe in recipes}) > 1]
    with group("card", "section"):
        part("h2", "Options that differ")
        if not differ:
            prose("None: these runs have the same options.", "help")
            return
        rows = [[name, *(shown_value(recipe[name]) if name in recipe else "" for recipe in recipes)] for name in differ]
        table(("option", *(run.name for run in runs)), rows, caption=f"{len(differ)} of {len(names)} options differ")
