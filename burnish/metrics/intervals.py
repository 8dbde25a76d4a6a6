"""Estimates with 95 % intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy

from burnish.metrics.measure import Measure, value

CONFIDENCE = 0.95
_RESAMPLES = 2000
_DRAWN_TOGETHER = 1 << 18
_ENDS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and the interval that holds the truth 95 times in 100."""

    value: float
    low: float
    high: float


def estimate(measure: Measure, seed: int = 0) -> Estimate:
    """A figure with its interval: Wilson's for a plain share of rows, else a percentile bootstrap over rows.

    Args:
        measure: the figure, as a formula over its rows.
        seed: of the resampling.
    """
    if _is_share_of_rows(measure):
        return proportion(round(float(measure.table[:, 0].sum())), len(measure.table))
    if len(measure.table) < 2:
        return Estimate(value(measure), -math.inf, math.inf)
    low, high = numpy.quantile(measure.formula(_resampled(measure.table, seed)), _ENDS)
    return Estimate(value(measure), float(low), float(high))


def difference(base: Measure, tuned: Measure, seed: int = 0) -> Estimate:
    """Tuned minus base, paired by row: both models are judged on the very same draw of rows."""
    change = value(tuned) - value(base)
    if len(base.table) < 2:
        return Estimate(change, -math.inf, math.inf)
    sums = _resampled(numpy.concatenate([base.table, tuned.table], axis=1), seed)
    columns = base.table.shape[1]
    low, high = numpy.quantile(tuned.formula(sums[:, columns:]) - base.formula(sums[:, :columns]), _ENDS)
    return Estimate(change, float(low), float(high))


def proportion(hits: int, total: int) -> Estimate:
    """A share of successes with Wilson's score interval (Wilson 1927), which stays honest near 0 and 1."""
    from scipy.stats import binomtest

    interval = binomtest(hits, total).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(hits / total, float(interval.low), float(interval.high))


def _is_share_of_rows(measure: Measure) -> bool:
    """Whether each row counts once and is either right or wrong."""
    table = measure.table
    is_counted = measure.is_share and table.shape[1] == 2 and len(table) > 0 and bool((table[:, 1] == 1).all())
    return is_counted and bool(numpy.isin(table[:, 0], (0, 1)).all())


def _resampled(table: numpy.ndarray, seed: int) -> numpy.ndarray:
    """`[resamples, k]`: column sums of as many rows, drawn again with replacement (Efron 1979)."""
    generator = numpy.random.default_rng(seed)
    rows = len(table)
    sums = numpy.empty((_RESAMPLES, table.shape[1]))
    together = max(1, _DRAWN_TOGETHER // rows)  # a matrix of all draws would not fit for many rows
    for begin in range(0, _RESAMPLES, together):
        part = sums[begin : begin + together]
        drawn = generator.integers(0, rows, (len(part), rows)) + rows * numpy.arange(len(part))[:, None]
        part[:] = numpy.bincount(drawn.ravel(), minlength=len(part) * rows).reshape(len(part), rows) @ table
    return sums
