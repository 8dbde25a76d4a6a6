"""The project of a studio: the folder with its rows, drafts, jobs, runs and notes, and the processes beside it.

studio/files  jobs  runs    as `burnish serve --jobs` keeps them
studio/drafts               runs that are being prepared
studio/notes                names, notes and tags of runs
studio/collected            ratings and corrections of answers, as rows
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from burnish.errors import InputError, MissingRun
from burnish.jobs.children import Children
from burnish.jobs.files import StoredFile
from burnish.jobs.job import ENDED, SUCCEEDED
from burnish.jobs.queue import MissingJob, Queue, Viewed
from burnish.report.figures import number
from burnish.report.outcome import headline_of
from burnish.runs.damage import DamagedRun, check_plain
from burnish.runs.description import evaluation_of
from burnish.runs.folder import RunFolder, begun_at, is_evaluated, list_runs
from burnish.studio.answering import Answering
from burnish.studio.collected import Collected
from burnish.studio.commands import Commands
from burnish.studio.curves import RunCurves
from burnish.studio.drafts import STARTING, Draft, DraftStore
from burnish.studio.notes import Notes
from burnish.studio.workbench import Workbench
from burnish.visible import visible

STUDIO_ROWS = "studio"
"""The purpose of stored files here: a page checks them with the options of its draft."""
_PURGE_SECONDS = 20.0
_ROWS = re.compile(r"\brows\.[a-z]+\b")
"""What every stored file is called in its folder."""
_UNFINISHED, _DAMAGED = "unfinished", "damaged"


@dataclass(frozen=True, slots=True)
class Entry:
    """A run as a list shows it."""

    id: str
    """The name of its folder."""
    name: str
    state: str
    created: float
    """In seconds since the epoch."""
    tags: tuple[str, ...]
    viewed: Viewed | None
    """Its job; None for a run that another command made."""
    run: RunFolder
    result: str = ""
    """Its headline metric, base and tuned, if it was evaluated."""


class Project:
    """Everything that the pages read and change.

    Args:
        folder: of the project; it is made if it does not exist.
        at_once: jobs that may train at a time.
        others: a folder with runs of other commands, which are shown as well.

    Raises:
        InputError: another process has it open, or it cannot be written.
    """

    def __init__(self, folder: Path, at_once: int = 1, others: str = "runs") -> None:
        self.folder = folder.absolute()
        self.queue = Queue(self.folder, at_once)
        self.drafts = DraftStore(self.folder / "drafts")
        self.notes = Notes(self.folder / "notes")
        self.collected = Collected(self.folder / "collected")
        self.children = Children()
        self.answering = Answering(self.folder, self.children)
        self.commands = Commands(self.folder / "commands", self.children)
        self.reading, self.planning = Workbench(), Workbench()
        self._others = others
        self._curves: dict[str, RunCurves] = {}
        self._known: dict[str, tuple[float, str]] = {}
        """The state of a finished run of another command by its path, and when its folder changed last."""
        self._results: dict[str, tuple[float, str]] = {}
        """The headline of an evaluated run by its path, and when its evaluation was written."""
        self._purged = 0.0

    def begin(self) -> None:
        """Starts the queue, and the process that reads rows."""
        self.queue.start()
        self.reading.begin()

    def close(self) -> None:
        """Ends what serves the pages. Trainings go on."""
        self.answering.close()
        self.reading.close()
        self.planning.close()
        self.queue.close()

    def add_rows(self, source: IO[bytes], filename: str) -> Draft:
        """Stores uploaded rows, and begins a draft with them.

        Raises:
            InputError: the file is empty, or of a kind that is not taken.
            MachineError: the disk has no room.
        """
        file = self.queue.files.add(source, filename, STUDIO_ROWS)
        return self._draft_of(file)

    def _draft_of(self, file: StoredFile, more: Mapping[str, Any] | None = None) -> Draft:
        path = str(self.queue.files.content(file))
        name = Path(file.filename).stem
        return self.drafts.create(name, file.filename, {**STARTING, "data.path": path, **(more or {})}, file.id)

    def cleaned(self, draft_id: str) -> Path:
        """Where the cleaned rows of a draft are, once they were asked for."""
        return self.folder / "cleaned" / f"{self.drafts.get(draft_id).id}.jsonl"

    def changes(self, draft_id: str) -> Path:
        """The file beside them that lists every change."""
        return self.cleaned(draft_id).with_suffix(".changes.jsonl")

    def next_from(self, run: Entry, kind: str) -> Draft:
        """A draft that trains a run further, on what was said of its answers.

        Args:
            run: whose answers were rated or corrected.
            kind: `corrections` or `preferences`.

        Raises:
            InputError: there are no such rows.
        """
        path = self.collected.path(run.id, kind)
        if path is None:
            raise InputError(f"there are no {kind} of the run `{run.name}`", "", "Rate or correct an answer first")
        with path.open("rb") as rows:
            file = self.queue.files.add(rows, f"{kind} of {run.name}.jsonl", STUDIO_ROWS)
        return self._draft_of(file, {"model.name": str(run.run.path.absolute())})

    def start(self, draft: Draft) -> Viewed:
        """Queues a training with the settings of a draft, which is then done with.

        Raises:
            RecipeError: an option is wrong.
        """
        draft.loaded()
        details = {"name": draft.name, "source": draft.source}
        viewed = self.queue.create(draft.options, [draft.file] if draft.file else [], details)
        self.drafts.remove(draft.id)
        return viewed

    def again(self, viewed: Viewed) -> Draft:
        """A draft with the settings of a job."""
        job = viewed.job
        options = {name: value for name, value in job.recipe.items() if name not in ("name", "runs")}
        file = job.files[0] if job.files else ""
        name = f"{self.name_of(viewed.id, viewed)} again"
        return self.drafts.create(name, str(job.details.get("source", "")), options, file)

    def name_of(self, run_id: str, viewed: Viewed | None) -> str:
        """What a run is called on the pages."""
        given = self.notes.of(run_id).name
        return given or (str(viewed.job.details.get("name") or run_id) if viewed else run_id)

    def named(self, text: str, source: str = "") -> str:
        """A text with the user's names of files in place of where they are kept.

        Args:
            text: of a command.
            source: what the rows that it is about are called.
        """
        text = self.queue.files.named(text)
        return _ROWS.sub(lambda _: source, text) if source else text

    def entry(self, run_id: str) -> Entry:
        """A run by the name of its folder.

        Raises:
            InputError: there is none.
        """
        try:
            viewed = self.queue.view(run_id)
        except MissingJob:
            return self._entry_of_other(self._other(run_id))
        if viewed.job.is_removed:
            raise MissingRun(f"the run `{run_id}` was deleted", "", "Go back to the list of runs")
        return self._entry(viewed)

    def entries(self) -> list[Entry]:
        """Every run that is not deleted, the newest first."""
        self._purge()
        jobs = [self._entry(viewed) for viewed in self.queue.all() if not viewed.job.is_removed]
        others = [self._entry_of_other(run) for run in list_runs(self._others)]
        found = [one for one in (*jobs, *others) if self.notes.of(one.id).deleted is None]
        return sorted(found, key=lambda one: -one.created)

    def deleted(self) -> list[Entry]:
        """Runs whose deletion can be undone."""
        jobs = [self._entry(viewed) for viewed in self.queue.all() if not viewed.job.is_removed]
        return [one for one in jobs if self.notes.of(one.id).deleted is not None]

    def memory_of(self, entry: Entry) -> int | None:
        """Bytes that a run takes at this moment; None if none of its processes is alive."""
        child = entry.viewed.job.process if entry.viewed else None
        if child is None or not self.children.is_alive(child):
            return None
        try:
            return psutil.Process(child.process).memory_info().rss
        except psutil.Error:
            return None

    def curves_of(self, run: RunFolder) -> RunCurves:
        """The curves of a run, read on from where they were read to."""
        return self._curves.setdefault(str(run.path), RunCurves(run))

    def _other(self, run_id: str) -> RunFolder:
        """A run of another command by the name of its folder, which leads nowhere else."""
        run = RunFolder(Path(self._others) / run_id)
        if run_id != Path(run_id).name or begun_at(run) is None:
            raise MissingRun(f"there is no run `{visible(run_id[:80])}`", "", "Go back to the list of runs")
        check_plain(run.path)
        return run

    def _entry(self, viewed: Viewed) -> Entry:
        name, note = self.name_of(viewed.id, viewed), self.notes.of(viewed.id)
        run, tags = viewed.folder.run, tuple(note.tags)
        result = self._result_of(run) if viewed.state == SUCCEEDED else ""
        return Entry(viewed.id, name, viewed.state, viewed.job.created, tags, viewed, run, result)

    def _entry_of_other(self, run: RunFolder) -> Entry:
        note, begun = self.notes.of(run.name), begun_at(run) or 0.0
        state, name, tags = self._state_of(run, begun), note.name or run.name, tuple(note.tags)
        result = self._result_of(run) if state == SUCCEEDED else ""
        return Entry(run.name, name, state, begun, tags, None, run, result)

    def _result_of(self, run: RunFolder) -> str:
        """The headline of a run, read again only when its evaluation changes."""
        try:
            changed = run.evaluation.stat().st_mtime
            known = self._results.get(str(run.path))
            if known is None or known[0] != changed:
                known = self._results[str(run.path)] = (changed, headline_text(evaluation_of(run) or {}))
            return known[1]
        except (OSError, DamagedRun):
            return ""

    def _state_of(self, run: RunFolder, begun: float) -> str:
        """Whether a run has its result, asked again only when its folder changes."""
        try:
            changed = run.path.stat().st_mtime
        except OSError:
            changed = begun
        known = self._known.get(str(run.path))
        if known is None or known[0] != changed:
            try:
                state = SUCCEEDED if is_evaluated(run) else _UNFINISHED
            except DamagedRun:
                state = _DAMAGED
            known = self._known[str(run.path)] = (changed, state)
        return known[1]

    def _purge(self) -> None:
        if time.monotonic() - self._purged > _PURGE_SECONDS:
            self._purged = time.monotonic()
            self.notes.purge(self._remove)

    def _remove(self, run_id: str) -> None:
        try:
            if self.queue.view(run_id).state in ENDED:
                self.queue.remove_run(run_id)
        except InputError:
            return  # it is gone, or goes on


def headline_text(evaluation: Mapping[str, Any]) -> str:
    """The metric that the verdict is about, as `accuracy 12.5 % → 97.5 %`; empty without one."""
    found = headline_of(evaluation)
    if not found:
        return ""
    base, tuned = (number(found[side]["value"], found["is_share"]) for side in ("base", "tuned"))
    return f"{found['name']} {base} → {tuned}"
