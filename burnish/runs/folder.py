"""Run folders: which file is where, and how folders are created, found and listed."""

from __future__ import annotations

import difflib
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.errors import InputError
from burnish.runs.atomic import as_disk_error
from burnish.runs.events import read_events


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of the files in one run folder. Reads and writes nothing."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name, which is the name of the folder."""
        return self.path.name

    @property
    def recipe(self) -> Path:
        """The fully resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def data(self) -> Path:
        """Copy of the data that was given from Python; missing for data in files."""
        return self.path / "data"

    @property
    def manifest(self) -> Path:
        """Versions, hashes, hardware and seeds."""
        return self.path / "manifest.json"

    @property
    def metrics(self) -> Path:
        """One line per step or validation."""
        return self.path / "metrics.jsonl"

    @property
    def events(self) -> Path:
        """What happened, one event per line."""
        return self.path / "events.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Holds `step-000200/` and so on."""
        return self.path / "checkpoints"

    @property
    def adapter(self) -> Path:
        """The result of an adapter method: a standard PEFT folder."""
        return self.path / "adapter"

    @property
    def model(self) -> Path:
        """The result of a method that trains the base model itself: a standard transformers folder."""
        return self.path / "model"

    @property
    def evaluation(self) -> Path:
        """Evaluation of the base model and the tuned model."""
        return self.path / "evaluation.json"

    @property
    def rejected(self) -> Path:
        """Rows that were left out, and why."""
        return self.path / "rejected.jsonl"

    @property
    def views(self) -> Path:
        """The first rows as the model sees them, token by token."""
        return self.path / "views.json"

    @property
    def report(self) -> Path:
        """The report: all of this as one HTML page."""
        return self.path / "report.html"

    @property
    def result(self) -> Path | None:
        """The trained adapter or model folder, or None if there is none yet."""
        return next((folder for folder in (self.adapter, self.model) if folder.is_dir()), None)


DEFAULT_RUNS = "runs"


def create_run(runs: Path, name: str) -> RunFolder:
    """Creates an empty run folder.

    Raises:
        InputError: a run of that name exists, or the name is not valid.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}", name):
        raise InputError(
            f"`{name}` is not a valid run name",
            "A name consists of letters, digits, `.`, `_` and `-`, and starts with a letter or digit.",
            "Choose another with `--name`",
        )
    path = runs / name
    try:
        with as_disk_error(path):
            path.mkdir(parents=True)
    except FileExistsError:
        raise InputError(
            f"the run `{path}` already exists",
            "A run is never overwritten.",
            f"Choose another `--name`, or continue that run: `burnish resume {path}`",
        ) from None
    except (NotADirectoryError, PermissionError) as error:
        raise InputError(
            f"cannot create the run folder `{path}`", f"{error.strerror}.", "Choose another `--runs`"
        ) from None
    return RunFolder(path)


def fresh_name(runs: Path, stem: str) -> str:
    """`stem`, or `stem-2`, `stem-3` … if that is taken."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:60] or "run"
    number, name = 1, stem
    while (runs / name).exists():
        number += 1
        name = f"{stem}-{number}"
    return name


def find_run(name: str, runs: str = DEFAULT_RUNS) -> RunFolder:
    """Finds a run folder by name or path.

    Raises:
        InputError: there is none; similar names are suggested.
    """
    for path in (Path(name), Path(runs) / name):
        if (path / "recipe.yaml").is_file():
            return RunFolder(path)
    known = [run.name for run in list_runs(runs)]
    near = difflib.get_close_matches(name, known, n=1)
    fix = f"Did you mean `{near[0]}`?" if near else "List the runs with `burnish runs`"
    raise InputError(
        f"there is no run `{name}`", f"There is no `recipe.yaml` in `{name}` or `{Path(runs) / name}`.", fix
    )


def list_runs(runs: str = DEFAULT_RUNS) -> list[RunFolder]:
    """Every run folder below `runs`, oldest first."""
    root = Path(runs)
    if not root.is_dir():
        return []
    folders = [RunFolder(path) for path in root.iterdir() if (path / "recipe.yaml").is_file()]
    return sorted(folders, key=lambda run: (run.recipe.stat().st_mtime, run.name))


def describe_run(run: RunFolder) -> dict[str, Any]:
    """What `burnish show` prints: recipe, state, losses and results, from the run folder alone."""
    import yaml

    metrics = read_events(run.metrics)
    steps = [line for line in metrics if line["event"] == "StepDone"]
    validations = [line for line in metrics if line["event"] == "Validated"]
    trained = [line for line in validations if line["step"] > 0]
    best = next((line for line in reversed(trained) if line["is_best"]), None)
    events = read_events(run.events)
    finished = next((line for line in reversed(events) if line["event"] == "Finished"), None)
    manifest = json.loads(run.manifest.read_text(encoding="utf-8")) if run.manifest.is_file() else {}
    return {
        "name": run.name,
        "path": str(run.path),
        "state": _state(run, finished),
        "started": time.strftime("%Y-%m-%d %H:%M", time.localtime(run.recipe.stat().st_mtime)),
        "step": steps[-1]["step"] if steps else 0,
        "total_steps": steps[-1]["total_steps"] if steps else None,
        "training_loss": steps[-1]["loss"] if steps else None,
        "validation_loss_before": finished["loss_before"]
        if finished
        else (validations[0]["loss"] if validations else None),
        "validation_loss_best": best["loss"] if best else None,
        "best_step": best["step"] if best else None,
        "seconds": finished["seconds"] if finished else None,
        "result": str(run.result) if run.result else None,
        "recipe": yaml.safe_load(run.recipe.read_text(encoding="utf-8")),
        "manifest": manifest,
    }


def _state(run: RunFolder, finished: dict[str, Any] | None) -> str:
    if finished and run.result:
        return "finished"
    if run.checkpoints.is_dir() and any(run.checkpoints.glob("step-*")):
        return "can be resumed"
    return "no checkpoint yet"
