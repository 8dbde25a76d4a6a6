"""Using a run: its answers beside those of its base, what is said of them, and what it can be written as."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from nicegui import ui

from burnish.errors import BurnishError
from burnish.jobs.job import SUCCEEDED
from burnish.report.record import RunRecord, read_record
from burnish.studio.answering import Models
from burnish.studio.collected import CORRECTIONS, PREFERENCES
from burnish.studio.commands import BUSY, DONE, FAILED, FORMS, LOST, NONE, export_words
from burnish.studio.frame import frame
from burnish.studio.inspection import describe_task
from burnish.studio.pages.chat import Chat
from burnish.studio.pages.predictions import Predictions
from burnish.studio.pages.run_page import head
from burnish.studio.parts import (
    Part,
    button,
    details,
    empty,
    facts,
    group,
    link,
    loading,
    notice,
    part,
    prose,
    refusal,
    table,
)
from burnish.system.machine import memory_size
from burnish.system.shell import quoted

if TYPE_CHECKING:
    from burnish.studio.project import Entry, Project

_POLL_SECONDS = 1.5


async def use_page(project: Project, run_id: str) -> None:
    """The page."""
    entry = await asyncio.to_thread(project.entry, run_id)
    with frame(project, f"Use {entry.name}"):
        head(entry, "use")
        if entry.state != SUCCEEDED:
            empty("Nothing to use yet", "The models answer here when the training has finished.")
            return
        record = await asyncio.to_thread(read_record, entry.run)
        with group("card", "section", aria_label="Answers") as shown:
            waiting = loading("Loading the models: this takes some seconds")
        collected = Collection(project, entry)
        with group("card", "section") as exports:
            part("h2", "Write it for another program")

        async def begin() -> None:
            task = await project.reading.ask(describe_task, record.task, record.method)
            if waiting.is_deleted:
                return  # the page was left
            if "error" in task:
                waiting.delete()
                with shown:
                    refusal(task["error"])
                return
            with exports:
                Exporting(project, entry, record, task["forms"])
            base = str(record.option("model.name")) if task["generates"] else None
            models = await project.answering.open(entry.run.path, base)
            if waiting.is_deleted:
                return
            waiting.delete()
            with shown:
                if models is not None:
                    _show(models, record, task, collected)
                else:
                    notice("The models could not be loaded.", "bad", "alert")
                    part("pre", project.answering.why or "The process was killed.")

        ui.timer(0.05, begin, once=True)


def _show(models: Models, record: RunRecord, task: dict[str, Any], collected: Collection) -> None:
    if task["generates"]:
        Chat(models, bool(task["reads_turns"]), bool(task["takes_pictures"]), collected.add)
    else:
        examples = [str(one["prompt"]) for one in record.evaluation.get("answers", ())][:3]
        shape = str(record.last("DataReady").get("shape", ""))
        Predictions(models, task["predicts"], shape, record.labels, examples, collected.add)
    with details("Serve it to other programs"):
        prose("While this page is in use, the same models answer with OpenAI's interface at this address.")
        facts([("address", f"{models.address}/v1"), ("models", "tuned and base")])
        prose(f"To serve it without the studio: `burnish serve {quoted(record.path)}`", "help")


class Collection:
    """What was said of the answers of a run, and the next run that learns from it.

    Args:
        project: that keeps it.
        entry: the run.
    """

    def __init__(self, project: Project, entry: Entry) -> None:
        self._project, self._entry = project, entry
        with group("card", "section"):
            part("h2", "The next run")
            self._shown = part("div", role="status")
        self._draw()

    def add(self, kind: str, row: dict[str, Any]) -> None:
        """Keeps a rating or a correction as a row."""
        self._project.collected.add(self._entry.id, kind, row)
        self._draw()

    def _draw(self) -> None:
        self._shown.clear()
        counts = {kind: self._project.collected.count(self._entry.id, kind) for kind in (CORRECTIONS, PREFERENCES)}
        with self._shown:
            prose("Mark which answer is better, or write the right one: that becomes rows to learn from.", "help")
            for kind, count in counts.items():
                if count:
                    with group("row"):
                        part("strong", f"{count:,} {kind if count != 1 else kind[:-1]}")
                        link("Download", f"/download/collected/{quote(self._entry.id)}/{kind}", "button small")
                        button("Begin a run with them", lambda kind=kind: self._begin(kind), "small")
            if 0 < sum(counts.values()) < 50:
                prose("A few rows change little: some hundreds are usual.", "help")

    def _begin(self, kind: str) -> None:
        try:
            draft = self._project.next_from(self._entry, kind)
        except BurnishError as error:
            with self._shown:
                refusal(error)
            return
        ui.navigate.to(f"/new/{draft.id}")


class Exporting:
    """Writes the run for other programs, and shows the proof that it answers there as here.

    Args:
        project: of the run.
        entry: the run.
        record: what its folder holds.
        forms: that its task and method can be written as.
    """

    def __init__(self, project: Project, entry: Entry, record: RunRecord, forms: Sequence[str]) -> None:
        self._commands, self._run = project.commands, entry.run.path
        self._states: dict[str, str] = {}
        self._places: dict[str, Part] = {}
        prose(f"Each is checked before it is kept. It is written into the run folder, `{record.path}`.", "help")
        for form in forms:
            with group("answer"), group("row"):
                part("strong", FORMS[form])
                self._places[form] = part("div", role="status")
        ui.timer(_POLL_SECONDS, self._refresh)

    async def _refresh(self) -> None:
        for form, place in self._places.items():
            export = await asyncio.to_thread(self._commands.state, export_words(self._run, form))
            if self._states.get(form) == export.state:
                continue
            self._states[form] = export.state
            place.clear()
            with place:
                self._draw(form, export.state, export.found)

    def _draw(self, form: str, state: str, found: dict[str, Any]) -> None:
        if state == BUSY:
            loading("Writing and checking")
        elif state == DONE:
            notice("Written, and checked.", "good")
            self._proof(found)
        elif state == FAILED:
            refusal(found["error"])
        elif state == LOST:
            notice("Its process was killed.", "warning")
        if state in (NONE, FAILED, LOST):
            button("Write it" if state == NONE else "Try again", lambda: self._begin(form), "small")

    async def _begin(self, form: str) -> None:
        await asyncio.to_thread(self._commands.start, export_words(self._run, form))
        await self._refresh()

    def _proof(self, found: dict[str, Any]) -> None:
        """What the command said of what it has written."""
        where = next((str(found[name]) for name in ("folder", "path") if found.get(name)), "")
        facts([("where", where), *((name, text) for name, text in _proofs(found))])
        files = [one for one in found.get("files", ()) if isinstance(one, dict) and "bytes" in one]
        if files:
            rows = [[str(one.get("name", "")), memory_size(int(one["bytes"]))] for one in files]
            table(("file", "size"), rows, (1,), caption="Files")
        for note in found.get("notes", ()):
            prose(str(note), "help")
        if command := found.get("command"):
            with group("copied"):
                with group("", "pre"):
                    part("code", str(command))
                part("button", "Copy", "button small", type="button", data_copy="")


def _proofs(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was compared with the run itself, as names and sentences."""
    tokens, outputs = found.get("tokens") or {}, found.get("outputs") or {}
    proofs = []
    if tokens:
        proofs.append(("tokens", f"the same as in training, in {tokens['texts']:,} texts of the run"))
    if outputs:
        proofs.append(
            ("answers", f"{outputs['prompts']:,} prompts, log-probabilities at most {outputs['largest']:.2g} apart")
        )
    if "difference" in found:
        proofs.append(("largest difference", f"{found['difference']:.2g}"))
    return proofs
