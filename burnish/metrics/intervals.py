"""Estimates with 95 % intervals: score intervals for shares of rows, the jackknife with a correction for skew for the
rest."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy

from burnish.metrics.measure import Measure, value

CONFIDENCE = 0.95
_NORMAL = 1.959963984540054
"""Quantile of the normal distribution at 97.5 %."""
_LARGEST_EXPONENT, _SMALLEST = 700.0, 1e-300
_FURTHEST = 2.5
"""How far the correction for skew may go, in units of Student's half-width: the skew of a few rows with one outlier
would take it several times as far, for half a point of coverage."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric and its 95 % confidence interval."""

    value: float
    low: float
    high: float


def estimate(measure: Measure) -> Estimate:
    """A metric with its interval: Wilson's for a share of rows that are either right or wrong, else `_ends`.

    Rows of the same content are one line of the table, however many they are, and count by their effective number.
    """
    weights = _weights(measure)
    if weights is not None:
        return _share(value(measure), _effective(weights))
    if len(measure.table) < 2:
        return Estimate(value(measure), -math.inf, math.inf)
    effective = _effective(_copies(measure))
    if measure.compares_ratios:
        logarithm, moves = _pull(lambda table: numpy.log(measure.formula(table)), measure.table)
        low, high = (math.exp(min(end, _LARGEST_EXPONENT)) for end in _ends(logarithm, [_Lines(moves, effective)]))
    else:
        lines = _Lines(_pull(measure.formula, measure.table)[1], effective)
        if measure.is_share and not lines.moves.any():
            return _share(value(measure), effective)  # all lines agree, which does not make their share certain
        low, high = _ends(value(measure), [lines])
    least, most = (0.0, 1.0) if measure.is_share else (measure.least, measure.most)
    return Estimate(value(measure), max(least, low), min(most, high))


def difference(base: Measure, tuned: Measure) -> Estimate:
    """Tuned minus base, paired by row: both models are evaluated on the same rows."""
    change, rows = value(tuned) - value(base), len(base.table)
    if rows < 2:
        return Estimate(change, -math.inf, math.inf)
    weights, others = _weights(base), _weights(tuned)
    if weights is not None and others is not None and (weights == others).all():
        return _difference_of_shares(base.table[:, 0], tuned.table[:, 0], weights)
    lines = _changes(base, tuned)
    if base.is_share and not lines.moves.any():
        return _difference_of_shares(numpy.zeros(rows), numpy.zeros(rows), _copies(base))
    low, high = _ends(change, [lines])
    if lines.has_ties:
        # rows that both models answer alike hide how far others would move: one more either way, as for shares
        half = _half_width([lines.with_one_more_either_way()])
        low, high = min(low, change - half), max(high, change + half)
    most = 1.0 if base.is_share else math.inf
    found = Estimate(change, max(-most, low), min(most, high))
    return _of_one_sign(base, tuned, found) if base.compares_ratios else found


def contrast(first: tuple[Measure, Measure], second: tuple[Measure, Measure]) -> Estimate:
    """How much more a metric changes on some rows than on other, independent rows.

    Args:
        first: base and tuned, on the same rows.
        second: base and tuned, on other rows.
    """
    changes = [value(tuned) - value(base) for base, tuned in (first, second)]
    gap = changes[0] - changes[1]
    if min(len(first[0].table), len(second[0].table)) < 2:
        return Estimate(gap, -math.inf, math.inf)
    others = _changes(*second)
    return Estimate(gap, *_ends(gap, [_changes(*first), _Lines(-others.moves, others.effective)]))


def proportion(hits: int, total: int) -> Estimate:
    """A share of successes with Wilson's score interval (Wilson 1927), which keeps its coverage near 0 and 1."""
    return _share(hits / total, total)


def _share(share: float, rows: float) -> Estimate:
    """Wilson's interval of a share of so many rows, which need not be a whole number."""
    z, square = _NORMAL, _NORMAL**2
    middle = (share + square / (2 * rows)) / (1 + square / rows)
    half = z * math.sqrt(share * (1 - share) / rows + square / (4 * rows**2)) / (1 + square / rows)
    # the ends of 0 and of 1 are exact, which rounding would miss
    return Estimate(share, 0.0 if share == 0 else middle - half, 1.0 if share == 1 else middle + half)


@dataclass(frozen=True, slots=True)
class _Lines:
    """What the lines of a table contribute to a metric: its value is estimated by the mean of `value + moves`."""

    moves: numpy.ndarray
    """`[lines]`: the jackknife's pseudo-values, centered."""
    effective: float
    """Effective number of lines."""
    is_same: numpy.ndarray | None = None
    """`[lines]` bool, of a difference: on which lines both models do the same."""

    @property
    def has_ties(self) -> bool:
        """Whether both models do the same on some lines, but not on all."""
        return self.is_same is not None and bool(self.is_same.any()) and not bool(self.is_same.all())

    def with_one_more_either_way(self) -> _Lines:
        """Two lines more, which move up and down by as much as those on which the models differ do on average."""
        moved = self.moves if self.is_same is None else self.moves[~self.is_same]
        usual = math.sqrt(float((moved**2).mean()))
        return _Lines(numpy.append(self.moves, (usual, -usual)), self.effective)

    @property
    def variance(self) -> float:
        """Of their mean."""
        return float(self.moves.var(ddof=1)) / len(self.moves)

    @property
    def third_cumulant(self) -> float:
        """Of their mean, without bias; 0.0 for two lines, which cannot show any skew."""
        lines = len(self.moves)
        return float((self.moves**3).mean()) / ((lines - 1) * (lines - 2)) if lines > 2 else 0.0


def _pull(formula: Callable[..., numpy.ndarray], *tables: numpy.ndarray) -> tuple[float, numpy.ndarray]:
    """The value of a formula of summed tables, and how far each line pulls it: Tukey's pseudo-values (1958), centered.

    Args:
        formula: of sums `[..., k]` for each table.
        tables: `[lines, k]`, all with the same lines.
    """
    sums = [table.sum(0) for table in tables]
    without = formula(*(total - table for total, table in zip(sums, tables, strict=True)))
    return float(formula(*sums)), (len(without) - 1) * (without.mean() - without)


def _changes(base: Measure, tuned: Measure) -> _Lines:
    """What each line contributes to tuned minus base."""

    def change(before: numpy.ndarray, after: numpy.ndarray) -> numpy.ndarray:
        return tuned.formula(after) - base.formula(before)

    is_same = (base.table == tuned.table).all(axis=1)
    moves = _pull(change, base.table, tuned.table)[1]
    return _Lines(numpy.zeros_like(moves) if is_same.all() else moves, _effective(_copies(base)), is_same)


def _ends(middle: float, parts: Sequence[_Lines]) -> tuple[float, float]:
    """The ends of an interval: the further out of Student's and of the one that is corrected for skew.

    Student's is too short on the long side of a skewed metric, and covers an exponential mean of 10 rows in 88 of 100
    samples. Hall's cubic transformation (1992, "On the removal of skewness by transformation") corrects for the skew,
    but relies on an estimate of it, which a few rows can get wrong in either direction.

    Args:
        middle: the estimate.
        parts: independent of each other; their pulls add up.
    """
    error, half = math.sqrt(sum(part.variance for part in parts)), _half_width(parts)
    if error == 0:
        return middle, middle
    skew, quantile = sum(part.third_cumulant for part in parts) / error**3, half / error
    furthest = _FURTHEST * half
    reach = [max(-furthest, min(furthest, error * _unskewed(end, skew))) for end in (quantile, -quantile)]
    return min(middle - half, middle - reach[0]), max(middle + half, middle - reach[1])


def _unskewed(quantile: float, skew: float) -> float:
    """The standardized deviation that Hall's transformation takes to a quantile."""
    if abs(skew) < 1e-9:
        return quantile
    return float(numpy.cbrt(1 + skew * (quantile - skew / 6)) - 1) * 3 / skew


def _half_width(parts: Sequence[_Lines]) -> float:
    """Student's quantile times the standard error, with Welch's degrees of freedom (1947) for several parts."""
    from scipy.special import stdtrit

    total = sum(part.variance for part in parts)
    shares = sum(part.variance**2 / max(1.0, part.effective - 1) for part in parts)
    freedom = total**2 / shares if shares > 0 else 1.0
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(total)


def _difference_of_shares(base: numpy.ndarray, tuned: numpy.ndarray, weights: numpy.ndarray) -> Estimate:
    """The difference of two shares on the same rows, each `[rows]` of 0 or the row's weight: Wald's interval with one
    more row gained and one more lost (Bonett and Price 2012). It has a width even if no row changed."""
    rows, moved = _effective(weights), tuned - base
    scale = rows / float(weights.sum())
    gained, lost = scale * float(numpy.maximum(moved, 0).sum()), scale * float(numpy.maximum(-moved, 0).sum())
    up, down = (gained + 1) / (rows + 2), (lost + 1) / (rows + 2)
    half = _NORMAL * math.sqrt((up + down - (up - down) ** 2) / (rows + 2))
    return Estimate((gained - lost) / rows, max(-1.0, up - down - half), min(1.0, up - down + half))


def _of_one_sign(base: Measure, tuned: Measure, found: Estimate) -> Estimate:
    """The difference of two positive metrics, whose interval holds 0 exactly if that of their ratio holds 1: a
    perplexity has risen or fallen as its loss has.

    The plain interval is symmetrical, or nearly so, and for a large change of few rows reaches beyond 0. There the
    logarithm of the change has a better one, which has no other side.
    """
    ratio = difference(_on_logarithm(base), _on_logarithm(tuned))
    if ratio.low <= 0 <= ratio.high:
        return Estimate(found.value, min(found.low, 0.0), max(found.high, 0.0))
    if found.low > 0 or found.high < 0:
        return found

    def logarithm(before: numpy.ndarray, after: numpy.ndarray) -> numpy.ndarray:
        return numpy.log(numpy.maximum(abs(tuned.formula(after) - base.formula(before)), _SMALLEST))

    middle, moves = _pull(logarithm, base.table, tuned.table)
    ends = (math.exp(min(end, _LARGEST_EXPONENT)) for end in _ends(middle, [_Lines(moves, _effective(_copies(base)))]))
    low, high = sorted(math.copysign(end, found.value) for end in ends)
    return Estimate(found.value, low, high)


def _on_logarithm(measure: Measure) -> Measure:
    return replace(
        measure, formula=lambda sums: numpy.log(measure.formula(sums)), least=-math.inf, compares_ratios=False
    )


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
