"""Analyzes a run's loss curves: outliers and trends."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy
from numpy.typing import ArrayLike

from burnish.runs.events import Event, StepDone, StoppedEarly, TrainingStarted, Validated

_MOST_BLOCKS = 100


def trend(values: Sequence[float]) -> float:
    """The z-score of a trend: above 0 if a series rises, below 0 if it falls.

    Mann's test (1945): Kendall's tau between the values and their order. Its two-sided p-value, exact for short series
    and corrected for ties, is converted to the normal quantile with the same p-value, so that a threshold of 3 means
    the same for any length and any noise. Long series are first averaged in a hundred equal blocks. 0.0 for fewer than
    four values, and if all are equal.
    """
    means = blocks(values)
    if len(means) < 4 or means.min() == means.max():
        return 0.0
    # imported here, because scipy.stats takes 0.3 s to load, and runs of a few steps never get this far
    from scipy.special import ndtri
    from scipy.stats import kendalltau

    found: Any = kendalltau(numpy.arange(len(means)), means)
    return float(-numpy.sign(found.statistic) * ndtri(found.pvalue / 2))


def blocks(values: Sequence[float], most: int = _MOST_BLOCKS) -> numpy.ndarray:
    """`[blocks]`: means of at most `most` blocks of equal length; the oldest values that fill no block are dropped."""
    numbers = numpy.asarray(values, dtype=numpy.float64)
    width = max(1, -(-len(numbers) // most))
    kept = numbers[len(numbers) % width :]
    return kept.reshape(len(kept) // width, width).mean(axis=1)


def step_between(before: ArrayLike, after: ArrayLike) -> tuple[float, float]:
    """The mean of later values minus that of earlier ones, and this difference in standard errors (Welch 1947).

    (0.0, 0.0) if one side has fewer than two values.
    """
    first, second = (numpy.asarray(part, dtype=numpy.float64) for part in (before, after))
    if min(len(first), len(second)) < 2:
        return 0.0, 0.0
    change = float(second.mean() - first.mean())
    error = math.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
    return change, change / max(error, 1e-12)


FAR = 6.0
"""Robust standard deviations above the median. In a normal distribution, one in a billion values is that far out; the
loss of a batch has longer tails, and a run has thousands of steps."""
WINDOW = 50
FEWEST = 20
"""Steps needed in the window before outliers are reported."""
_NORMAL = 1.4826
"""Ratio of the standard deviation of a normal distribution to its median absolute deviation (Hampel 1974)."""
_LEAST_SHARE = 0.02
"""Lower limit of the spread, as a share of the median: without noise every step would be an outlier."""
_LEAST = {"loss": 0.05, "gradient norm": 1e-12}
"""Absolute lower limit of the spread: losses near zero vary tenfold without harm."""


@dataclass(frozen=True, slots=True)
class Outlier:
    """An outlier of a step, and the usual value."""

    what: str
    value: float
    usual: float


@dataclass(slots=True)
class Outliers:
    """Receives every step in order and finds those far above the last `WINDOW` steps.

    A value is compared with the median in units of the median absolute deviation (Iglewicz and Hoaglin 1993): a few
    outliers change neither much. Gradient norms are skewed to the right, so their logarithms must be outliers too.
    Steps in warm-up are ignored, because the gradient changes with every one of them.

    Args:
        warmup: number of warm-up steps.
    """

    warmup: int
    _seen: dict[str, deque[float]] = field(default_factory=dict)

    def observe(self, event: StepDone) -> list[Outlier]:
        """The outliers of this step."""
        if event.step <= self.warmup:
            return []
        figures = {"loss": event.loss, "gradient norm": event.gradient_norm}
        found = [self._check(what, value) for what, value in figures.items()]
        return [outlier for outlier in found if outlier is not None]

    def _check(self, what: str, value: float) -> Outlier | None:
        seen = self._seen.setdefault(what, deque(maxlen=WINDOW))
        before = numpy.array(seen)
        # in the logs of earlier versions, fp16 loss scaling skipped steps with an infinite norm
        if math.isfinite(value):
            seen.append(value)
        if len(before) < FEWEST or not math.isfinite(value):
            return None
        usual = float(numpy.median(before))
        is_far = _is_far(value, before, _LEAST[what])
        if what == "gradient norm" and is_far and before.min() > 0:
            is_far = _is_far(math.log(value), numpy.log(before), _LEAST_SHARE)
        return Outlier(what, value, usual) if is_far else None


def _is_far(value: float, before: numpy.ndarray, least: float) -> bool:
    """Whether it is beyond `FAR` robust standard deviations, of at least `least` or a share of the median."""
    median = float(numpy.median(before))
    spread = _NORMAL * float(numpy.median(numpy.abs(before - median)))
    return (value - median) / max(spread, least, _LEAST_SHARE * abs(median)) > FAR


_SHORTEST = 8
"""Smallest window in steps: the mean of fewer is too noisy."""
_NORMAL_QUANTILE = 1.96
"""Standard errors from the center to an end of a 95 % interval."""


@dataclass(frozen=True, slots=True)
class Change:
    """A held-out loss minus another on the same rows, with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def z_score(self) -> float:
        """The difference in standard errors, computed from the width of the interval."""
        error = (self.high - self.low) / (2 * _NORMAL_QUANTILE)
        return self.value / max(error, 1e-12)

    def __str__(self) -> str:
        """`-0.123 (95 % interval -0.150 to -0.100)`."""
        return f"{self.value:+.3f} (95 % interval {self.low:+.3f} to {self.high:+.3f})"


@dataclass(slots=True)
class Curves:
    """Training and held-out losses in order."""

    total_steps: int
    warmup: int
    """Warm-up steps."""
    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """Training loss of each step."""
    rates: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    base: Validated | None = None
    validations: list[Validated] = field(default_factory=list)
    """Validations after the base model's."""
    has_stopped: bool = False

    def take(self, event: Event) -> None:
        """Records an event; other kinds are ignored."""
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

    def with_validation(self, validated: Validated) -> Curves:
        """The same curves with one more validation."""
        if validated.step == 0:
            return replace(self, base=validated)
        return replace(self, validations=[*self.validations, validated])

    @property
    def step(self) -> int:
        """Steps done."""
        return self.steps[-1] if self.steps else 0

    @property
    def is_over(self) -> bool:
        """Whether the run is over, including the validation of the last step."""
        is_validated = self.base is None or bool(self.validations and self.validations[-1].step == self.step)
        return self.has_stopped or (self.step == self.total_steps and is_validated)

    @property
    def last(self) -> Validated | None:
        """The newest validation of trained weights."""
        return self.validations[-1] if self.validations else None

    @property
    def lowest(self) -> Validated | None:
        """The validation with the lowest loss; the first of equal ones."""
        return min(self.validations, key=lambda one: one.loss, default=None)

    def window(self) -> int:
        """Number of steps that a training loss is averaged over: a tenth of those done."""
        return max(_SHORTEST, len(self.losses) // 10)

    def step_at(self, share: float) -> int:
        """The last step up to which at most this share of the summed learning rate has been used."""
        used = numpy.cumsum(self.rates)
        return self.steps[max(0, int(numpy.searchsorted(used, share * used[-1], side="right")) - 1)]

    def after(self, step: int) -> Sequence[float]:
        """Training losses of the steps after this one."""
        return [loss for number, loss in zip(self.steps, self.losses, strict=True) if number > step]

    def until(self, step: int) -> Sequence[float]:
        """Training losses of the steps up to this one."""
        return [loss for number, loss in zip(self.steps, self.losses, strict=True) if number <= step]


def change(validation: Validated | None, name: str) -> Change | None:
    """The change of a held-out loss against `base`, `lowest` or `chance`; None if unknown."""
    found = validation.changes.get(name) if validation else None
    return Change(*found) if found else None
