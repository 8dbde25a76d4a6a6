"""Where things stand inside a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Names of the files in one run folder. Nothing here reads or writes."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name: the folder's own."""
        return self.path.name

    @property
    def recipe(self) -> Path:
        """The fully resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def manifest(self) -> Path:
        """Versions, hashes, hardware and seeds."""
        return self.path / "manifest.json"

    @property
    def metrics(self) -> Path:
        """One line a step or validation."""
        return self.path / "metrics.jsonl"

    @property
    def events(self) -> Path:
        """What happened, in words."""
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
        """The result of a method that moves the base itself: a standard transformers folder."""
        return self.path / "model"

    @property
    def evaluation(self) -> Path:
        """Base against tuned."""
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
        """All of this as one page for the browser."""
        return self.path / "report.html"

    @property
    def result(self) -> Path | None:
        """The trained adapter or model folder, or None while there is none."""
        return next((folder for folder in (self.adapter, self.model) if folder.is_dir()), None)
