"""How sure a difference of metrics is, where both the choice of rows and the training make noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy

from burnish.metrics.intervals import CONFIDENCE, is_share_of_rows, resampled
from burnish.metrics.measure import Measure

_FEWEST_BENDS = 3
"""Second differences; from fewer next to nothing can be told."""


def scatter(values: Sequence[float]) -> Noise | None:
    """The variance of a single value around the smooth course of a series.

    It is told from the second differences, in which a straight course leaves nothing: of independent values they have
    six times the variance (Gasser, Sroka and Jennen-Steinmetz 1986). What the course bends counts as scatter, so the
    estimate is rather too large. Neighbouring differences share values, hence the degrees of freedom: with D the matrix
    that takes the differences, they are trace(D D')^2 / trace((D D')^2).

    Args:
        values: at equal distances.

    Returns:
        None for fewer than five values, or where one is not finite.
    """
    bends = numpy.diff(numpy.asarray(values, dtype=numpy.float64), 2) if len(values) > 2 else numpy.empty(0)
    number = len(bends)
    if number < _FEWEST_BENDS or not numpy.isfinite(bends).all():
        return None
    freedom = (6 * number) ** 2 / (36 * number + 32 * (number - 1) + 2 * (number - 2))
    return Noise(float((bends**2).mean()) / 6, freedom)


def spread(groups: Sequence[Sequence[float]]) -> Noise | None:
    """The variance of a single value within its group, taken to be the same in all groups.

    Returns:
        None where no group has two values.
    """
    freedom = sum(len(group) - 1 for group in groups)
    if freedom < 1:
        return None
    squares = sum(float(((numpy.asarray(group) - numpy.mean(group)) ** 2).sum()) for group in groups)
    return Noise(squares / freedom, freedom)


_SMALLEST_TAIL = 1e-12
_HALVINGS = 60


@dataclass(frozen=True, slots=True)
class Noise:
    """One source of a figure's error."""

    variance: float
    freedom: float
    """Degrees of freedom of that estimate: the fewer, the less is known."""


@dataclass(frozen=True, slots=True)
class Change:
    """A difference with its 95 % interval."""

    value: float
    low: float
    high: float
    chance: float
    """How often noise alone would make a difference as large: the two-sided p-value."""


def weigh(value: float, sources: Sequence[Noise]) -> Change:
    """A difference against all that makes noise, by Student's t.

    The variances add up, and the quantile is the mean of those of the sources, weighed by variance (Cochran and Cox
    1950). A source that is known from few values so widens the interval by as much as it counts. Satterthwaite's
    degrees of freedom are the usual choice; but where such a source comes out small by luck they take it to be well
    known, and with one or two degrees of freedom their intervals hold the truth less often than they say.

    Args:
        value: the difference.
        sources: independent of each other.
    """
    from scipy.special import stdtrit

    counted = [source for source in sources if source.variance > 0]
    if not counted:
        return Change(value, value, value, 0.0 if value else 1.0)
    variance = sum(source.variance for source in counted)
    error = math.sqrt(variance)

    def quantile(tail: float) -> float:
        return -sum(source.variance * float(stdtrit(source.freedom, tail)) for source in counted) / variance

    half = quantile((1 - CONFIDENCE) / 2) * error
    return Change(value, value - half, value + half, 2 * _tail(quantile, abs(value) / error))


def _tail(quantile: Callable[[float], float], reached: float) -> float:
    """The share of the distribution above a value, by halving the logarithm of its bounds."""
    low, high = math.log(_SMALLEST_TAIL), math.log(0.5)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if quantile(math.exp(middle)) > reached else (low, middle)
    return math.exp(high)


def row_covariance(measures: Sequence[Measure], seed: int = 0) -> numpy.ndarray:
    """`[models, models]`: how the same figure of several models varies, and varies together, with the choice of rows.

    Every draw of the bootstrap takes the same rows for all models, so the difference of any two is paired by row. For
    plain shares of rows it is written down instead, with half a row more of each outcome of a pair (Agresti and Min
    2005): models that are right about the very same rows of these may part on others.

    Args:
        measures: one figure of each model, on the same rows in the same order.
        seed: of the resampling.
    """
    if all(is_share_of_rows(one) for one in measures):
        return _of_shares(numpy.stack([one.table[:, 0] for one in measures], axis=1))
    sums = resampled(numpy.concatenate([one.table for one in measures], axis=1), seed)
    ends = numpy.cumsum([one.table.shape[1] for one in measures])
    parts = numpy.split(sums, ends[:-1], axis=1)
    figures = numpy.stack([one.formula(part) for one, part in zip(measures, parts, strict=True)])
    # the draws vary about the mean of the rows at hand, which is itself nearer to them than the truth is
    rows = effective_rows(measures[0])
    return numpy.atleast_2d(numpy.cov(figures)) * rows / (rows - 1)


def effective_rows(measure: Measure) -> float:
    """As how many rows of equal weight the rows of a figure count: the squared sum of the weights over the sum of their
    squares (Kish 1965). A long row weighs more in a loss per token; where no weights are told, all are equal."""
    rows, columns = measure.table.shape
    weights = measure.table[:, 1] if columns == 2 else numpy.ones(rows)
    return float(weights.sum() ** 2 / (weights**2).sum()) if weights.any() else float(rows)


def _of_shares(right: numpy.ndarray) -> numpy.ndarray:
    """`[models, models]` from `[rows, models]` of 0 and 1."""
    rows, models = right.shape
    both = (right.T @ right + 0.5 * (1 + numpy.eye(models))) / (rows + 2)
    share = (right.sum(0) + 1) / (rows + 2)
    return (both - numpy.outer(share, share)) / (rows + 2)


def holm(chances: Sequence[float]) -> list[float]:
    """The chances of several comparisons, raised for their number (Holm 1979), in their order.

    What is then at most 0.05 is shown: in no more than one of twenty such sets is any difference shown that is none.
    """
    order = sorted(range(len(chances)), key=lambda index: chances[index])
    raised, highest = [1.0] * len(chances), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(chances) - rank) * chances[index]))
        raised[index] = highest
    return raised
