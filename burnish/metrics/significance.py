"""Significance of a difference of metrics when both the choice of rows and the training are noisy."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy

from burnish.metrics.intervals import CONFIDENCE, is_share_of_rows
from burnish.metrics.measure import Measure

_RESAMPLES = 2000
_DRAWN_TOGETHER = 2**18
"""Drawn rows at a time, because a matrix of all draws would be too large for many rows."""
_MIN_DIFFERENCES = 3
"""Second differences needed for an estimate."""


def scatter(values: Sequence[float]) -> Noise | None:
    """The variance of a single value around the smooth trend of a series.

    It is estimated from second differences, from which a linear trend vanishes: for independent values their variance
    is six times that of the values (Gasser, Sroka and Jennen-Steinmetz 1986). Curvature of the trend counts as noise,
    so the estimate tends to be too large. Neighboring differences share values, so the degrees of freedom are trace(D
    D')^2 / trace((D D')^2), where D is the matrix of the differences.

    Args:
        values: at equal intervals.

    Returns:
        None for fewer than five values, or if any is not finite.
    """
    differences = numpy.diff(numpy.asarray(values, dtype=numpy.float64), 2)
    number = len(differences)
    if number < _MIN_DIFFERENCES or not numpy.isfinite(differences).all():
        return None
    freedom = (6 * number) ** 2 / (36 * number + 32 * (number - 1) + 2 * (number - 2))
    return Noise(float((differences**2).mean()) / 6, freedom)


def spread(groups: Sequence[Sequence[float]]) -> Noise | None:
    """The pooled variance of a single value within its group.

    Returns:
        None if no group has two values.
    """
    freedom = sum(len(group) - 1 for group in groups)
    if freedom < 1:
        return None
    squares = sum(float(((numpy.asarray(group) - numpy.mean(group)) ** 2).sum()) for group in groups)
    return Noise(squares / freedom, freedom)


_SMALLEST_TAIL = 1e-12


@dataclass(frozen=True, slots=True)
class Noise:
    """One source of a metric's error."""

    variance: float
    freedom: float
    """Degrees of freedom of the variance estimate."""


@dataclass(frozen=True, slots=True)
class Change:
    """A difference with its 95 % interval."""

    value: float
    low: float
    high: float
    chance: float
    """The two-sided p-value: how often noise alone would produce a difference as large."""


def weigh(value: float, sources: Sequence[Noise]) -> Change:
    """A difference with an interval from all sources of noise, by Student's t.

    The variances add up, and the quantile is the mean of the sources' quantiles weighted by variance (Cochran and Cox
    1950). A source estimated from few values thus widens the interval in proportion to its variance. Satterthwaite's
    degrees of freedom are the usual choice, but if the estimate of such a source is small by chance they take it as
    well known, and with one or two degrees of freedom their intervals have less than the nominal coverage.

    Args:
        value: the observed difference.
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
    """The share of the distribution above a value, by bisection on the logarithm."""
    low, high = math.log(_SMALLEST_TAIL), math.log(0.5)
    for _ in range(sys.float_info.mant_dig):
        middle = (low + high) / 2
        low, high = (middle, high) if quantile(math.exp(middle)) > reached else (low, middle)
    return math.exp(high)


def row_covariance(measures: Sequence[Measure], seed: int = 0) -> numpy.ndarray:
    """`[models, models]`: covariance of one metric of several models over the choice of rows.

    Every bootstrap resample takes the same rows for all models, so the difference of any two is paired by row. For
    shares of rows it is computed in closed form, with half a row added to each outcome of a pair (Agresti and Min
    2005): models that are right on exactly the same rows here may differ on others.

    Args:
        measures: one metric of each model, on the same rows in the same order.
        seed: of the resampling.
    """
    if all(is_share_of_rows(one) for one in measures):
        return _of_shares(numpy.stack([one.table[:, 0] for one in measures], axis=1))
    sums = resampled(numpy.concatenate([one.table for one in measures], axis=1), seed)
    ends = numpy.cumsum([one.table.shape[1] for one in measures])
    parts = numpy.split(sums, ends[:-1], axis=1)
    values = numpy.stack([one.formula(part) for one, part in zip(measures, parts, strict=True)])
    # the resamples vary around the sample mean instead of the true mean, which underestimates the variance
    rows = effective_rows(measures[0])
    return numpy.atleast_2d(numpy.cov(values)) * rows / (rows - 1)


def resampled(table: numpy.ndarray, seed: int | numpy.random.Generator) -> numpy.ndarray:
    """`[resamples, k]`: column sums of bootstrap resamples of the rows (Efron 1979)."""
    generator = numpy.random.default_rng(seed)
    rows = len(table)
    sums = numpy.empty((_RESAMPLES, table.shape[1]))
    together = math.ceil(_DRAWN_TOGETHER / rows)
    for begin in range(0, _RESAMPLES, together):
        part = sums[begin : begin + together]
        drawn = generator.integers(0, rows, (len(part), rows)) + rows * numpy.arange(len(part))[:, None]
        part[:] = numpy.bincount(drawn.ravel(), minlength=len(part) * rows).reshape(len(part), rows) @ table
    return sums


def effective_rows(measure: Measure) -> float:
    """The effective number of rows of a metric: the squared sum of the weights over the sum of their squares (Kish
    1965). In a loss per token the weight of a row is its number of tokens; without known weights all are equal."""
    rows, columns = measure.table.shape
    weights = measure.table[:, 1] if columns == 2 else numpy.ones(rows)
    return float(weights.sum() ** 2 / (weights**2).sum()) if weights.any() else float(rows)


def _of_shares(right: numpy.ndarray) -> numpy.ndarray:
    """`[models, models]` from `[rows, models]` of 0 and 1."""
    rows, models = right.shape
    both = (right.T @ right + 0.5 * (1 + numpy.eye(models))) / (rows + 2)
    share = (right.sum(0) + 1) / (rows + 2)
    return (both - numpy.outer(share, share)) / (rows + 2)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts the p-values of several comparisons for their number (Holm 1979), in the given order.

    Adjusted values of at most 0.05 are significant: at most one in twenty sets has any false positive.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = list(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
