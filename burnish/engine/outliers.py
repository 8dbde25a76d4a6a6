"""Steps whose loss or gradient stands far out from those before them."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

import numpy

from burnish.runs.events import StepDone

FAR = 6.0
"""Robust standard deviations from the median. Of a normal sample one in a billion stands so far out on one side; the
loss of a batch has longer tails than that, and a run has thousands of steps."""
WINDOW = 50
FEWEST = 20
"""Steps in the window before one is judged by it."""
_NORMAL = 1.4826
"""What makes the median absolute deviation of a normal sample its standard deviation (Hampel 1974)."""
_LEAST_SHARE = 0.02
"""The spread is taken to be at least this share of the median: without noise every step would stand out."""
_LEAST = {"loss": 0.05, "gradient norm": 1e-12}
"""And at least this much: losses near zero differ tenfold without any harm."""


@dataclass(frozen=True, slots=True)
class Outlier:
    """A figure of a step, and what it usually is."""

    what: str
    value: float
    usual: float


@dataclass(slots=True)
class Outliers:
    """Told of every step in order; finds those whose figures stand out upwards from the last `WINDOW` steps.

    A figure is held against the median, in units of the median absolute deviation (Iglewicz and Hoaglin 1993): neither
    moves much for a few wild steps. Norms are skewed to the right, and must stand out by their logarithms, too. While
    the learning rate rises nothing is judged or remembered, for the gradient then changes with every step.

    Args:
        warmup: steps in which the learning rate rises.
    """

    warmup: int
    _seen: dict[str, deque[float]] = field(default_factory=dict)

    def heed(self, event: StepDone) -> list[Outlier]:
        """The figures of this step that stand out."""
        if event.step <= self.warmup:
            return []
        figures = {"loss": event.loss, "gradient norm": event.gradient_norm}
        found = [self._judge(what, value) for what, value in figures.items()]
        return [outlier for outlier in found if outlier is not None]

    def _judge(self, what: str, value: float) -> Outlier | None:
        seen = self._seen.setdefault(what, deque(maxlen=WINDOW))
        before = numpy.array(seen)
        # a norm that is not finite is fp16's loss scaling at work, which skips the step
        if math.isfinite(value):
            seen.append(value)
        if len(before) < FEWEST or not math.isfinite(value):
            return None
        usual = float(numpy.median(before))
        is_far = _robust_z(value, before, _LEAST[what]) > FAR
        if what == "gradient norm" and is_far and before.min() > 0:
            is_far = _robust_z(math.log(value), numpy.log(before), _LEAST_SHARE) > FAR
        return Outlier(what, value, usual) if is_far else None


def _robust_z(value: float, before: numpy.ndarray, least: float) -> float:
    """Distance from the median in robust standard deviations, which are no less than `least` or a share of it."""
    median = float(numpy.median(before))
    spread = _NORMAL * float(numpy.median(numpy.abs(before - median)))
    return (value - median) / max(spread, least, _LEAST_SHARE * abs(median))
