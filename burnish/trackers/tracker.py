"""What every tracker is given: a run with its options, and figures by step."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from burnish.recipe.names import spelled
from burnish.runs.damage import DamagedRun
from burnish.runs.description import evaluation_of
from burnish.runs.events import Event, StepDone, Validated, Warned
from burnish.runs.folder import RunFolder


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run as a tracker knows it."""

    name: str
    folder: Path
    """Of the run; what is of this run alone is kept in its `tracking`."""
    runs: Path
    """The folder of all runs; what compares runs is kept there."""
    options: Mapping[str, Any]
    """Those of its recipe by dotted name, resolved and JSON-ready."""

    @property
    def tracking(self) -> Path:
        """Where trackers keep what is of this run alone."""
        return self.folder / "tracking"

    def texts(self) -> dict[str, str]:
        """The options as text."""
        return {name: spelled(value) for name, value in self.options.items() if value is not None}


class Tracker(Protocol):
    """Keeps figures of a run by step."""

    name: ClassVar[str]

    def begin(self, run: TrackedRun, step: int) -> None:
        """Opens the run, or opens it again.

        Args:
            run: that is about to train.
            step: of the first figures that follow; what it has of that step and later ones is done again.
        """
        ...

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Keeps finite figures of a step, of which there may be several such sets."""
        ...

    def end(self) -> None:
        """Writes what is still to be written."""
        ...


class Tracking:
    """A listener that gives a tracker what it keeps. If the tracker fails, the run goes on without it.

    Args:
        tracker: that keeps it.
        run: of which it is.
        emit: receives a warning if the tracker fails.
    """

    def __init__(self, tracker: Tracker, run: TrackedRun, emit: Callable[[Event], None]) -> None:
        self._tracker, self._run, self._emit = tracker, run, emit
        self._is_open = self._has_failed = False
        self._step = 0

    def __call__(self, event: Event) -> None:
        """Keeps a step or a validation."""
        if isinstance(event, StepDone):
            speed = event.tokens / event.seconds if event.seconds else 0.0
            figures = {"loss": event.loss, "learning_rate": event.learning_rate, "epoch": event.epoch}
            figures |= {"gradient_norm": event.gradient_norm, "tokens_per_second": speed}
            self._keep(event.step, {f"train/{name}": value for name, value in figures.items()})
        elif isinstance(event, Validated):
            figures = {"loss": event.loss, **event.figures}
            self._keep(event.step, {f"validation/{name}": value for name, value in figures.items()})

    def close(self) -> None:
        """Keeps the evaluation of a finished run, and ends."""
        if not self._is_open or self._has_failed:
            return
        if figures := _of_evaluation(RunFolder(self._run.folder)):
            self._keep(self._step, figures)
        self._guarded(self._tracker.end)

    def _keep(self, step: int, figures: Mapping[str, float]) -> None:
        if not self._is_open and not self._has_failed:
            self._is_open = self._guarded(lambda: self._tracker.begin(self._run, step))
        finite = {name: value for name, value in figures.items() if math.isfinite(value)}
        self._step = step
        if self._is_open and not self._has_failed:
            self._guarded(lambda: self._tracker.log(step, finite))

    def _guarded(self, act: Callable[[], None]) -> bool:
        """Whether something could be done; if not, it is reported once."""
        try:
            act()
        except Exception as error:  # noqa: BLE001  a tracker is another program: whatever fails there is not the run's
            self._has_failed = True
            what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            self._emit(
                Warned(
                    f"`{self._tracker.name}` stopped logging this run: {what}. `events.jsonl` and "
                    "`metrics.jsonl` have all."
                )
            )
            return False
        return True


def _of_evaluation(folder: RunFolder) -> dict[str, float]:
    """The figures of base and tuned model; empty before there are any."""
    try:
        evaluation = evaluation_of(folder) or {}
    except (DamagedRun, json.JSONDecodeError):
        return {}
    found: dict[str, float] = {}
    for figure in evaluation.get("figures", []):
        for model in ("base", "tuned"):
            if figure[model]["value"] is not None:
                found[f"test/{model}/{figure['name']}"] = float(figure[model]["value"])
    return found
