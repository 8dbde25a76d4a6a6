"""Estimates with 95 % intervals."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy

from burnish.metrics.measure import Measure, value

CONFIDENCE = 0.95
_RESAMPLES = 2000
_DRAWN_TOGETHER = 2**18
"""Drawn rows at a time, because a matrix of all draws would be too large for many rows."""
_ENDS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric and its 95 % confidence interval."""

    value: float
    low: float
    high: float


def estimate(measure: Measure, seed: int = 0) -> Estimate:
    """A metric with its interval: Wilson's for a share of rows that are either right or wrong, else a bootstrap.

    Args:
        measure: the metric as a formula over its rows.
        seed: seed of the resampling.
    """
    weights = _weights(measure)
    if weights is not None:
        rows = int(_effective(weights))
        return replace(proportion(round(value(measure) * rows), rows), value=value(measure))
    if len(measure.table) < 2:
        return Estimate(value(measure), -math.inf, math.inf)
    draws = measure.formula(resampled(measure.table, seed))
    if measure.compares_ratios:
        low, high = (math.exp(min(end, _LARGEST_EXPONENT)) for end in _ends(numpy.log(draws), len(measure.table)))
    else:
        low, high = _ends(draws, len(measure.table))
    if measure.is_share and low == high and low in (0.0, 1.0):
        # all rows are wholly right or wrong, and so is every resample of them: as wide as for a share of rows
        whole = round(_effective(_copies(measure)))
        return proportion(whole if low else 0, whole)
    least, most = (0.0, 1.0) if measure.is_share else (measure.least, measure.most)
    return Estimate(value(measure), max(least, low), min(most, high))


def difference(base: Measure, tuned: Measure, seed: int = 0) -> Estimate:
    """Tuned minus base, paired by row: both models are evaluated on the same rows and on the same resamples of them."""
    change, rows = value(tuned) - value(base), len(base.table)
    if rows < 2:
        return Estimate(change, -math.inf, math.inf)
    weights, others = _weights(base), _weights(tuned)
    if weights is not None and others is not None and (weights == others).all():
        return _difference_of_shares(base.table[:, 0], tuned.table[:, 0], weights)
    low, high = _ends(_changes(base, tuned, seed), rows)
    if base.is_share and low == high == 0.0:
        return _difference_of_shares(numpy.zeros(rows), numpy.zeros(rows), _copies(base))
    most = 1.0 if base.is_share else math.inf
    return Estimate(change, max(-most, low), min(most, high))


def contrast(first: tuple[Measure, Measure], second: tuple[Measure, Measure], seed: int = 0) -> Estimate:
    """How much more a metric changes on some rows than on other, independent rows.

    Args:
        first: base and tuned, on the same rows.
        second: base and tuned, on other rows.
        seed: seed of the resampling; the two are resampled independently.
    """
    changes = [value(tuned) - value(base) for base, tuned in (first, second)]
    rows = min(len(first[0].table), len(second[0].table))
    if rows < 2:
        return Estimate(changes[0] - changes[1], -math.inf, math.inf)
    generator = numpy.random.default_rng(seed)  # goes on for the other rows: equal draws would correlate the samples
    low, high = _ends(_changes(*first, generator) - _changes(*second, generator), rows)
    return Estimate(changes[0] - changes[1], low, high)


def proportion(hits: int, total: int) -> Estimate:
    """A share of successes with Wilson's score interval (Wilson 1927), which keeps its coverage near 0 and 1."""
    from scipy.stats import binomtest

    interval = binomtest(hits, total).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(hits / total, float(interval.low), float(interval.high))


@functools.cache
def widening(rows: int) -> float:
    """The factor by which a percentile interval is too narrow for this number of rows.

    Resampled rows vary too little by sqrt((n - 1) / n), and since the variance is estimated, Student's t with n - 1
    degrees of freedom replaces the normal distribution: sqrt(n / (n - 1)) * t / z (Hesterberg 2015, "What teachers
    should know about the bootstrap", on the narrowness bias). 1.88 for 4 rows, 1.06 for 30.

    Args:
        rows: at least 2.
    """
    from scipy.special import ndtri, stdtrit

    return math.sqrt(rows / (rows - 1)) * float(stdtrit(rows - 1, _ENDS[1]) / ndtri(_ENDS[1]))


def _ends(draws: numpy.ndarray, rows: int) -> tuple[float, float]:
    """The percentile interval of the resampled values `[resamples]`, widened around the median."""
    low, middle, high = (float(end) for end in numpy.quantile(draws, (_ENDS[0], 0.5, _ENDS[1])))
    wider = widening(rows)
    return middle + wider * (low - middle), middle + wider * (high - middle)


def _changes(base: Measure, tuned: Measure, seed: int | numpy.random.Generator) -> numpy.ndarray:
    """`[resamples]`: tuned minus base on the same resamples of rows."""
    sums = resampled(numpy.concatenate([base.table, tuned.table], axis=1), seed)
    columns = base.table.shape[1]
    return tuned.formula(sums[:, columns:]) - base.formula(sums[:, :columns])


def _difference_of_shares(base: numpy.ndarray, tuned: numpy.ndarray, weights: numpy.ndarray) -> Estimate:
    """The difference of two shares on the same rows, each `[rows]` of 0 or the row's weight: Wald's interval with one
    more row gained and one more lost (Bonett and Price 2012). A bootstrap would give an interval of no width if no row
    changed."""
    from scipy.special import ndtri

    rows, moved = _effective(weights), tuned - base
    scale = rows / float(weights.sum())
    gained, lost = scale * float(numpy.maximum(moved, 0).sum()), scale * float(numpy.maximum(-moved, 0).sum())
    up, down = (gained + 1) / (rows + 2), (lost + 1) / (rows + 2)
    half = float(ndtri(_ENDS[1])) * math.sqrt((up + down - (up - down) ** 2) / (rows + 2))
    return Estimate((gained - lost) / rows, max(-1.0, up - down - half), min(1.0, up - down + half))


@functools.cache
def smallest_difference(rows: int) -> float | None:
    """The smallest gain in a share that so many rows can show, if every row that changes becomes right.

    With it the interval of the paired difference no longer holds 0. None if so few rows can show no difference.

    Args:
        rows: at least 1.
    """
    before, weights = numpy.zeros(rows), numpy.ones(rows)
    for gained in range(1, rows + 1):
        after = (numpy.arange(rows) < gained).astype(numpy.float64)
        if _difference_of_shares(before, after, weights).low > 0:
            return gained / rows
    return None


def _effective(weights: numpy.ndarray) -> float:
    """The effective number of rows (Kish 1965): all of them if the weights are equal."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def _copies(measure: Measure) -> numpy.ndarray:
    """`[rows]`: how many rows each line of the table sums up."""
    return numpy.ones(len(measure.table)) if measure.copies is None else measure.copies.astype(numpy.float64)


def _weights(measure: Measure) -> numpy.ndarray | None:
    """`[rows]`: how many rows each line of a share represents, if every line is either right or wrong; None for other
    metrics, and for a single line, which has no interval."""
    if measure.copies is None:
        return measure.table[:, 1] if is_share_of_rows(measure) else None
    if not measure.is_share or measure.table.shape[1] != 2 or len(measure.table) < 2:
        return None
    hits, weights = measure.table.T
    is_whole = bool((weights == measure.copies).all()) and bool(((hits == 0) | (hits == weights)).all())
    return weights if is_whole else None


def is_share_of_rows(measure: Measure) -> bool:
    """Whether every row counts once and is either right or wrong."""
    table = measure.table
    is_counted = measure.is_share and table.shape[1] == 2 and len(table) > 0 and bool((table[:, 1] == 1).all())
    return is_counted and bool(numpy.isin(table[:, 0], (0, 1)).all())


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
