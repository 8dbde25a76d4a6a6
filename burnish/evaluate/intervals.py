"""Estimates with 95 % intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy

CONFIDENCE = 0.95
_RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and the interval that holds the truth 95 times in 100."""

    value: float
    low: float
    high: float

    def exp(self) -> Estimate:
        """The same estimate on the exponential scale: mean loss becomes perplexity."""
        return Estimate(*(math.exp(min(number, 700)) for number in (self.value, self.low, self.high)))


def mean_loss(sums: numpy.ndarray, counts: numpy.ndarray, seed: int = 0) -> Estimate:
    """Mean loss per trained token, with a percentile bootstrap over rows.

    Rows, not tokens, are drawn again: tokens of one row are not independent (Efron and Tibshirani 1993, ch. 13).

    Args:
        sums: `[rows]`, summed loss of each row, in nats.
        counts: `[rows]`, trained tokens of each row.
        seed: of the resampling.
    """
    return _bootstrap(sums, counts, seed)


def mean_loss_difference(base: numpy.ndarray, tuned: numpy.ndarray, counts: numpy.ndarray, seed: int = 0) -> Estimate:
    """Tuned minus base, paired by row: both models are judged on the very same draw of rows."""
    return _bootstrap(tuned - base, counts, seed)


def _bootstrap(sums: numpy.ndarray, counts: numpy.ndarray, seed: int) -> Estimate:
    value = float(sums.sum() / counts.sum())
    if len(sums) < 2:
        return Estimate(value, -math.inf, math.inf)
    generator = numpy.random.default_rng(seed)
    means = numpy.empty(_RESAMPLES)
    for number in range(_RESAMPLES):  # one draw at a time: a matrix of all would not fit for many rows
        drawn = generator.integers(0, len(sums), len(sums))
        means[number] = sums[drawn].sum() / counts[drawn].sum()
    low, high = numpy.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high))


def proportion(hits: int, total: int) -> Estimate:
    """A share of successes with Wilson's score interval (Wilson 1927), which stays honest near 0 and 1."""
    from scipy.stats import binomtest

    interval = binomtest(hits, total).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(hits / total, float(interval.low), float(interval.high))
