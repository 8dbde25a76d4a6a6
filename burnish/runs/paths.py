"""Paths of a run folder: which file is where."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from burnish.runs.event_log import EVENTS, METRICS


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths of the files in one run folder. Reads and writes nothing."""

    path: Path
    trusts_code: bool = False
    """Whether the user lets it run the code that its recipe names."""
    step: int | None = None
    """The checkpoint whose weights stand in for the result, as in `RUN@200`; None for the run's own result."""

    @property
    def name(self) -> str:
        """The run's name, which is the name of the folder, and the step of a checkpoint after `@`."""
        return self.path.name if self.step is None else f"{self.path.name}@{self.step}"

    @property
    def named(self) -> str:
        """The path, and the step of a checkpoint after `@`: as commands take it."""
        return str(self.path) if self.step is None else f"{self.path}@{self.step}"

    @property
    def of_result(self) -> Path:
        """The folder that holds the result and what is made of it: of a checkpoint one of its own."""
        return self.path if self.step is None else self.path / "results" / f"step-{self.step:06d}"

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
        return self.path / METRICS

    @property
    def events(self) -> Path:
        """What happened, one event per line."""
        return self.path / EVENTS

    @property
    def checkpoints(self) -> Path:
        """Holds `step-000200/` and so on."""
        return self.path / "checkpoints"

    @property
    def adapter(self) -> Path:
        """The result of an adapter method: a standard PEFT folder."""
        return self.of_result / "adapter"

    @property
    def model(self) -> Path:
        """The result of a method that trains the base model itself: a standard transformers folder."""
        return self.of_result / "model"

    @property
    def evaluation(self) -> Path:
        """Evaluation of the base model and the tuned model."""
        return self.of_result / "evaluation.json"

    @property
    def rejected(self) -> Path:
        """Rows that were left out, and why."""
        return self.path / "rejected.jsonl"

    @property
    def views(self) -> Path:
        """The first rows as the model sees them, token by token."""
        return self.path / "views.json"

    @property
    def merged(self) -> Path:
        """The result merged into its base: a standard transformers folder."""
        return self.of_result / "merged"

    def export(self, to: str) -> Path:
        """The result in the form of another program."""
        return self.of_result / f"export-{to}"

    @property
    def exports(self) -> list[Path]:
        """What is known of each export."""
        return sorted(self.path.glob("export-*/export.json"))

    @property
    def report(self) -> Path:
        """The report: all of this as one HTML page."""
        return self.path / "report.html"

    @property
    def result(self) -> Path | None:
        """The trained adapter or model folder, or None if there is none yet."""
        return next((folder for folder in (self.adapter, self.model) if folder.is_dir()), None)


def checkpoint_folder(run: RunFolder, step: int) -> Path:
    """The folder of a step's checkpoint."""
    return run.checkpoints / f"step-{step:06d}"


def checkpoint_folders(checkpoints: Path) -> list[Path]:
    """The checkpoint folders of a run, oldest first; copies under other names are not among them."""
    if not checkpoints.is_dir():
        return []
    found = [path for path in checkpoints.iterdir() if _STEP.fullmatch(path.name) and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


_STEP = re.compile(r"step-[0-9]+")


def split_step(name: str) -> tuple[str, int | None]:
    """A run's name or path, and the step that follows it: `sft@200`; None where there is none."""
    run, at, step = name.rpartition("@")
    return (run, int(step)) if at and run and re.fullmatch(r"[0-9]{1,12}", step) else (name, None)
