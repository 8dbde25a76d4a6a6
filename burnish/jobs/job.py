"""A job: its file, its run folder, and the state that follows from both.

jobs/ftjob-…/job.json       what is wanted, and which process does it
jobs/ftjob-…/recipe.yaml    what was asked for
jobs/ftjob-…/plan.json      memory and time, if the job had to wait
jobs/ftjob-…/out.json       what its last process said at its end
jobs/ftjob-…/log.txt        what its processes wrote besides
runs/ftjob-…/               the run
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from burnish.errors import InputError, Interrupted
from burnish.jobs.children import Child, child_of
from burnish.runs.atomic import write_json
from burnish.runs.damage import DamagedRun
from burnish.runs.folder import RunFolder, begun_at, is_evaluated
from burnish.templates import yaml_text
from burnish.visible import parse_json

VALIDATING, QUEUED, RUNNING, PAUSED = "validating", "queued", "running", "paused"
INTERRUPTED, SUCCEEDED, FAILED, CANCELLED = "interrupted", "succeeded", "failed", "cancelled"
ENDED = (SUCCEEDED, FAILED, CANCELLED)
GO, PAUSE, CANCEL = "go", "pause", "cancel"
"""What is wanted of a job."""
_INPUT_CODE, _INTERRUPTED_CODE = InputError.exit_code, Interrupted.exit_code


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence about a job that its run does not know."""

    time: float
    """In seconds since the epoch."""
    level: str
    """`info`, `warn` or `error`."""
    text: str


@dataclass(frozen=True, slots=True)
class Job:
    """What is known of a job beside its run. A change is a new object, written before anything follows from it."""

    id: str
    created: float
    """In seconds since the epoch."""
    recipe: dict[str, Any]
    """Options by dotted name."""
    files: list[str] = field(default_factory=list)
    """The ids of the stored files that it reads."""
    details: dict[str, Any] = field(default_factory=dict)
    """What a face keeps with it, such as its name for the result."""
    wanted: str = GO
    is_queued: bool = True
    """Whether it waits for its turn."""
    queued: float = 0.0
    """When it joined the queue, in seconds since the epoch."""
    child: dict[str, Any] | None = None
    """The last process that worked on it; empty while one is being started."""
    said: list[dict[str, Any]] = field(default_factory=list)
    outcome: str | None = None
    """`succeeded`, `failed` or `cancelled`, once that is known; then nothing else is asked any more."""
    ended: float | None = None
    """When, in seconds since the epoch."""
    result_file: str | None = None
    """The id of the stored file of its metrics."""
    is_removed: bool = False
    """Whether its run folder was removed by request."""

    def saying(self, level: str, text: str) -> Job:
        """With another sentence."""
        return replace(self, said=[*self.said, asdict(Said(round(time.time(), 3), level, text))])

    @property
    def process(self) -> Child | None:
        """The last process that worked on it."""
        return child_of(self.child)


@dataclass(frozen=True, slots=True)
class JobFolder:
    """Where the files of a job are."""

    path: Path
    run: RunFolder

    @property
    def record(self) -> Path:
        """The job itself."""
        return self.path / "job.json"

    @property
    def recipe(self) -> Path:
        """What was asked for."""
        return self.path / "recipe.yaml"

    @property
    def plan(self) -> Path:
        """Memory and time."""
        return self.path / "plan.json"

    @property
    def out(self) -> Path:
        """What its last process said at its end."""
        return self.path / "out.json"

    @property
    def log(self) -> Path:
        """What its processes wrote besides."""
        return self.path / "log.txt"

    def write(self, job: Job) -> Job:
        """Writes the job, atomically, and returns it."""
        write_json(self.record, asdict(job))
        return job

    def write_recipe(self, options: Mapping[str, Any]) -> None:
        """Writes what was asked for, as a recipe that `burnish train` reads.

        Args:
            options: by dotted name.
        """
        self.recipe.write_text(yaml_text(nested(options)), encoding="utf-8")

    @property
    def is_bare(self) -> bool:
        """Whether there is nothing but a recipe: the process that took the job on was killed before it said so."""
        return {path.name for path in self.path.iterdir()} <= {self.recipe.name}

    def read(self) -> Job:
        """The job.

        Raises:
            InputError: its file cannot be read, or is not a job's.
        """
        try:
            found = parse_json(self.record.read_bytes())
            known = {name: found[name] for name in Job.__dataclass_fields__ if name in found}
            return Job(**known)
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise InputError(
                f"the job `{self.path.name}` cannot be read",
                f"`{self.record}` is damaged or missing.",
                f"Restore the file from a copy, or remove the folder `{self.path}`",
            ) from error

    def refuse(self, file: str, why: str) -> None:
        """Ends the job before it has a process, because a file of it cannot be used.

        Args:
            file: the id of the file.
            why: what is wrong with it, in sentences.
        """
        error = {"what": f"the file `{file}` cannot be trained on", "why": why, "exit_code": _INPUT_CODE, "file": file}
        write_json(self.out, {"error": error})

    def failure(self) -> dict[str, Any] | None:
        """The error with which its last process ended: `what`, `why`, `fix`, `exit_code`; None if there is none."""
        found = read_json(self.out)
        error = found.get("error") if found else None
        return error if isinstance(error, dict) and error.get("exit_code") != _INTERRUPTED_CODE else None

    @property
    def has_begun(self) -> bool:
        """Whether there is a run to be resumed."""
        return begun_at(self.run) is not None

    @property
    def is_finished(self) -> bool:
        """Whether the run has its result, evaluation and pages."""
        try:
            return is_evaluated(self.run) and self.run.report.is_file()
        except DamagedRun:
            return False


def state_of(job: Job, folder: JobFolder, is_alive: bool, is_checked: bool) -> str:
    """The state of a job, from its file and its run folder.

    Args:
        job: as it was written.
        folder: of the job.
        is_alive: whether a process works on it.
        is_checked: whether its files have been checked.
    """
    if job.outcome is not None:
        return job.outcome
    if is_alive:
        return RUNNING
    if job.wanted == CANCEL:
        return CANCELLED
    if folder.is_finished:
        return SUCCEEDED
    if job.wanted == PAUSE:
        return PAUSED
    if job.is_queued:
        return QUEUED if is_checked else VALIDATING
    return FAILED if folder.failure() else INTERRUPTED


def read_json(path: Path) -> Mapping[str, Any] | None:
    """The JSON object that a process wrote at its end; None if it has not, or was killed meanwhile."""
    try:
        found = parse_json(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def in_words(failure: Mapping[str, Any]) -> str:
    """An error of a command as sentences."""
    what, why, fix = (str(failure.get(name) or "").strip().rstrip(".") for name in ("what", "why", "fix"))
    said = [part for part in (what, why, fix) if part]
    return " ".join(f"{part[:1].upper()}{part[1:]}{'' if part.endswith('?') else '.'}" for part in said)


def nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by section, as a file has them."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        *sections, last = name.split(".")
        inner = found
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[last] = value
    return found
