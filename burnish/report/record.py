"""Everything that a run folder holds, read once, for pages about the run."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from burnish.methods import method_names
from burnish.recipe.schema import AUTO
from burnish.runs.damage import damaged
from burnish.runs.description import data_in_words, describe_run
from burnish.runs.event_log import read_events
from burnish.runs.file_forms import EvaluationForm, ExportForm, ViewsForm, completed, fault
from burnish.runs.folder import RunFolder
from burnish.tasks import task_names
from burnish.visible import parse_json

_REJECTED_READ = 50


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as recorded in its files. What is missing is empty, so that an interrupted run has a page, too."""

    folder: RunFolder
    state: str
    """`finished`, `can be resumed` or `no checkpoint yet`."""
    started: str
    recipe: dict[str, Any]
    """By section; sections that nothing in the run reads are missing."""
    manifest: dict[str, Any]
    steps: list[dict[str, Any]]
    """One map a training step."""
    validations: list[dict[str, Any]]
    events: list[dict[str, Any]]
    evaluation: dict[str, Any]
    """Base against tuned; empty where they have not been compared."""
    rejected: list[dict[str, Any]]
    """The first rejected rows."""
    num_rejected: int
    views: list[dict[str, Any]]
    """The first rows as the model sees them, token by token."""
    exports: list[dict[str, Any]]
    """GGUF files made of the result, and what they cost."""
    kept: dict[str, Any] | None = None
    """Which step's weights are the result, and why."""

    @property
    def name(self) -> str:
        """The run's name."""
        return self.folder.name

    @property
    def path(self) -> str:
        """The run folder as one would type it from here."""
        try:
            return str(self.folder.path.absolute().relative_to(Path.cwd()))
        except ValueError:
            return str(self.folder.path)

    @property
    def is_finished(self) -> bool:
        """Whether it was trained to its end."""
        return self.state == "finished"

    @property
    def base(self) -> str:
        """The base model's name: that of its folder, or on the hub."""
        return bare_name(str(self.option("model.name") or ""))

    @property
    def data(self) -> str:
        """The data's name: that of its file or folder, or on the hub."""
        named = data_in_words(self.option("data.path"))
        return ", ".join(bare_name(name) for name in named.split(", "))

    @property
    def task(self) -> str:
        """The run's task."""
        return str(self.recipe.get("task", ""))

    @property
    def method(self) -> str:
        """The run's method."""
        return str(self.recipe.get("method", ""))

    @property
    def labels(self) -> list[str]:
        """Names of the labels, in the order of the model's outputs; empty where the task has none."""
        labels = self.option("data.labels")
        return [str(label) for label in labels] if isinstance(labels, list) else []

    @property
    def total_steps(self) -> int:
        """Steps that the run was planned to take; 0 where it never started."""
        return int(self.steps[-1]["total_steps"]) if self.steps else 0

    @property
    def best_step(self) -> int | None:
        """The step whose weights were kept, or would be so far."""
        finished = self.last("Finished")
        if finished and self.is_finished:
            return int(finished["best_step"])
        chosen = [line["step"] for line in self.validations if line["is_best"] and line["step"] > 0]
        return int(chosen[-1]) if chosen else None

    def option(self, name: str) -> Any:
        """The value of an option by its dotted name; None where the recipe does not hold it."""
        section, _, last = name.rpartition(".")
        values = self.recipe.get(section, {}) if section else self.recipe
        return values.get(last) if isinstance(values, dict) else None

    def last(self, kind: str) -> dict[str, Any]:
        """The last event of a kind; empty where there was none."""
        return next((event for event in reversed(self.events) if event["event"] == kind), {})

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Every event of a kind."""
        return [event for event in self.events if event["event"] == kind]


def read_record(folder: RunFolder) -> RunRecord:
    """Reads a run folder. An evaluation, rejected rows or views that are missing or damaged count as empty.

    Raises:
        DamagedRun: recipe, manifest or logs cannot be read.
    """
    found = describe_run(folder)
    _check_known(folder, found["recipe"])
    metrics = read_events(folder.metrics)
    rejected, num_rejected = _read_rejected(folder.rejected)
    return RunRecord(
        folder=folder,
        state=found["state"],
        started=found["started"],
        recipe=found["recipe"] or {},
        manifest=found["manifest"],
        steps=[line for line in metrics if line["event"] == "StepDone"],
        validations=[line for line in metrics if line["event"] == "Validated"],
        events=read_events(folder.events),
        evaluation=_read_form(folder.evaluation, EvaluationForm) or {},
        rejected=rejected,
        num_rejected=num_rejected,
        views=_read_form(folder.views, ViewsForm) or [],
        exports=[one for path in folder.exports if (one := _read_form(path, ExportForm)) and one["files"]],
        kept=found["kept"],
    )


def _check_known(folder: RunFolder, recipe: Mapping[str, Any]) -> None:
    """Raises DamagedRun for a task or a method that this version does not have."""
    for option, known in (("task", task_names()), ("method", method_names())):
        if recipe[option] not in (*known, AUTO):
            raise damaged(folder.recipe, f"this version of Burnish has no {option} `{recipe[option]}`")


def bare_name(name: str) -> str:
    """The last part of a path; a name on the hub, or that of a bundled model, as it is."""
    return Path(name).name if Path(name).is_absolute() else name


def bare_place(place: str) -> str:
    """`folder/file:line: what was found` without the folder; a path without a line is its last part."""
    found = re.match(r"(.*?)(:\d+(?::.*)?)$", place, re.DOTALL)
    path, rest = (found[1], found[2]) if found else (place, "")
    return path.replace("\\", "/").rpartition("/")[2] + rest


def is_local(name: str) -> bool:
    """Whether a recipe's name of data or of a model is a path: a recipe holds all paths absolute."""
    return Path(name).is_absolute()


def finite(points: list[tuple[float, Any]]) -> list[tuple[float, float]]:
    """Those points that can be drawn."""
    return [(float(x), float(y)) for x, y in points if isinstance(y, (int, float)) and math.isfinite(y)]


def _read_form(path: Path, form: type[BaseModel]) -> Any:
    """What a JSON file holds; None if it is missing or damaged."""
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return None if fault(form, found) else completed(form, found)


def _read_rejected(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The first rows of `rejected.jsonl`, and how many there are; none if the file is damaged."""
    if not path.is_file():
        return [], 0
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            rows = [parse_json(line) for line in islice(file, _REJECTED_READ)]
            return rows, len(rows) + sum(1 for _ in file)
    except (OSError, ValueError):
        return [], 0
