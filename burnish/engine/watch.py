"""Everything that is read off a run while it trains: how it goes, which steps stand out, how the GPU does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from burnish.data.batches import Batch
from burnish.engine.device_watch import DeviceWatch
from burnish.engine.diagnosis import Diagnosis
from burnish.engine.optimizer import warmup_steps
from burnish.engine.outliers import Outliers
from burnish.recipe.schema import Recipe
from burnish.runs.events import Event, Spiked, StepDone, Validated

_KINDS = {"StepDone": StepDone, "Validated": Validated}


@dataclass(slots=True)
class Watch:
    """Hands every event on, and after it whatever it shows."""

    emit: Callable[[Event], None]
    recipe: Recipe
    """Fully resolved."""
    total_steps: int
    device: torch.device
    diagnosis: Diagnosis = field(init=False)
    _outliers: Outliers = field(init=False)
    _device_watch: DeviceWatch = field(init=False)
    _told: set[tuple[int, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.diagnosis = Diagnosis(self.recipe, self.total_steps)
        self._outliers = Outliers(warmup_steps(self.total_steps, self.recipe.train))
        self._device_watch = DeviceWatch(self.device)

    def recall(self, metrics: Iterable[dict[str, Any]], events: Iterable[dict[str, Any]]) -> None:
        """Takes in what a run told before it was stopped, and says none of it again.

        Args:
            metrics: lines of `metrics.jsonl` up to the step where it goes on.
            events: lines of `events.jsonl`.
        """
        for line in metrics:
            if kind := _KINDS.get(line["event"]):
                event = kind(**{name: value for name, value in line.items() if name not in ("event", "time")})
                self.diagnosis.heed(event)
                if isinstance(event, StepDone):
                    self._outliers.heed(event)
        for line in events:
            if line["event"] == "Diagnosed":
                self.diagnosis.said.add(line["name"])
            elif line["event"] == "Spiked":
                self._told.add((line["step"], line["what"]))

    def __call__(self, event: Event) -> None:
        """Tells an event, and what it shows of the run."""
        self.emit(event)
        for finding in [*self.diagnosis.heed(event), *self._device_watch.heed(event)]:
            self.emit(finding)

    def step_done(self, event: StepDone, batches: Sequence[Batch], examples: Sequence[Any]) -> None:
        """Tells a step, and where it stands out the rows that it read."""
        self(event)
        for outlier in self._outliers.heed(event):
            if (event.step, outlier.what) not in self._told:
                rows = places(batches, examples)
                self.emit(Spiked(event.step, outlier.what, outlier.value, outlier.usual, rows))

    def broke_off(self, step: int, what: str) -> None:
        """Tells that a run ended because its loss was not finite."""
        for finding in self.diagnosis.broke_off(step, what):
            self.emit(finding)


def places(batches: Sequence[Batch], examples: Sequence[Any]) -> list[str]:
    """Where the rows of a step stand, as `file:line`, each once."""
    return list(dict.fromkeys(examples[index].place for batch in batches for index in batch.examples))
