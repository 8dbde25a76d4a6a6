"""What a run has told so far, as series of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy

from burnish.runs.events import Event, StepDone, StoppedEarly, TrainingStarted, Validated

_SHORTEST = 8
"""Steps of a window, at least: fewer have no spread to speak of."""
_NORMAL_QUANTILE = 1.96
"""Standard errors from the middle to an end of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class Change:
    """A held-out loss minus another on the same rows, with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def sureness(self) -> float:
        """The difference in its own standard errors, taken from the width of the interval."""
        error = (self.high - self.low) / (2 * _NORMAL_QUANTILE)
        return self.value / max(error, 1e-12)

    def __str__(self) -> str:
        """`-0.123 (95 % interval -0.150 to -0.100)`."""
        return f"{self.value:+.3f} (95 % interval {self.low:+.3f} to {self.high:+.3f})"


@dataclass(slots=True)
class Curves:
    """Training and held-out losses in the order in which they came."""

    total_steps: int
    warmup: int
    """Steps in which the learning rate rises."""
    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """Training loss of each step."""
    rates: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    base: Validated | None = None
    validations: list[Validated] = field(default_factory=list)
    """Those of trained weights."""
    has_stopped: bool = False

    def take(self, event: Event) -> None:
        """Takes in one event; those of other kinds say nothing here."""
        match event:
            case StepDone():
                self.steps.append(event.step)
                self.losses.append(event.loss)
                self.rates.append(event.learning_rate)
                self.norms.append(event.gradient_norm)
            case Validated() if event.step == 0:
                self.base = event
            case Validated():
                self.validations.append(event)
            case StoppedEarly():
                self.has_stopped = True
            case TrainingStarted():
                self.total_steps = event.total_steps
            case _:
                pass

    @property
    def step(self) -> int:
        """Steps done."""
        return self.steps[-1] if self.steps else 0

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes: no step, and no validation of the last step."""
        is_judged = self.base is None or bool(self.validations and self.validations[-1].step == self.step)
        return self.has_stopped or (self.step == self.total_steps and is_judged)

    @property
    def last(self) -> Validated | None:
        """The newest validation of trained weights."""
        return self.validations[-1] if self.validations else None

    @property
    def lowest(self) -> Validated | None:
        """That of the lowest loss; of equal ones the first."""
        return min(self.validations, key=lambda one: one.loss, default=None)

    def window(self) -> int:
        """Steps over which a training loss is averaged: a tenth of those done."""
        return max(_SHORTEST, len(self.losses) // 10)

    def step_at(self, share: float) -> int:
        """The last step until which no more than this share of the summed learning rate was spent."""
        reach = numpy.cumsum(self.rates)
        return self.steps[max(0, int(numpy.searchsorted(reach, share * reach[-1], side="right")) - 1)]

    def after(self, step: int) -> Sequence[float]:
        """Training losses of the steps after this one."""
        return [loss for number, loss in zip(self.steps, self.losses, strict=True) if number > step]

    def until(self, step: int) -> Sequence[float]:
        """Training losses of the steps up to this one."""
        return [loss for number, loss in zip(self.steps, self.losses, strict=True) if number <= step]


def change(validation: Validated | None, name: str) -> Change | None:
    """How a held-out loss differs from that of `base`, `lowest` or `chance`; None where it cannot be told."""
    found = validation.changes.get(name) if validation else None
    return Change(*found) if found else None
