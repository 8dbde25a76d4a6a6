"""A metric as a formula over column sums, so that one kind of interval works for all metrics; and tables of detailed
metrics."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class MetricTable:
    """A table with a title; each row is as long as `columns`. Shares are floats from 0 to 1, counts are integers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """A metric over rows: `formula(table.sum(0))`.

    An interval applies the same formula to the sums without each row in turn, `[rows, k]`.
    """

    name: str
    table: numpy.ndarray
    """`[rows, k]`, float64: what each row contributes to the sums."""
    formula: Callable[[numpy.ndarray], numpy.ndarray]
    """From sums `[..., k]` to values `[...]`, for any leading axes."""
    higher_is_better: bool
    is_share: bool
    """Whether it is a number from 0 to 1, shown in percent."""
    least: float = -math.inf
    """Lower bound of the metric; 0 for shares."""
    most: float = math.inf
    """Upper bound of the metric; 1 for shares."""
    compares_ratios: bool = False
    """Whether it is positive and compared by ratios, as perplexity is: its interval is computed on the logarithm."""
    copies: numpy.ndarray | None = None
    """`[rows]`: how many identical rows each line of the table sums up; None if each is a single row."""


def value(measure: Measure) -> float:
    """The value of a metric; 0.0 if there are no rows."""
    return float(measure.formula(measure.table.sum(0)))


def grouped(measure: Measure, groups: numpy.ndarray) -> Measure:
    """The same metric over groups of rows, which an interval then leaves out as units.

    Args:
        measure: a metric over rows.
        groups: `[rows]` int64: group of each row, from 0.
    """
    table = numpy.zeros((int(groups.max()) + 1, measure.table.shape[1]))
    numpy.add.at(table, groups, measure.table)
    return replace(measure, table=table, copies=numpy.bincount(groups))


def mean(name: str, values: ArrayLike, higher_is_better: bool = True, is_share: bool = True) -> Measure:
    """Mean of one number per row.

    Args:
        name: name of the metric.
        values: `[rows]`.
        higher_is_better: false for a loss.
        is_share: whether the mean is a number from 0 to 1.
    """
    numbers = numpy.asarray(values, dtype=numpy.float64)
    return ratio(name, numbers, numpy.ones_like(numbers), higher_is_better, is_share)


def ratio(
    name: str,
    numerators: ArrayLike,
    denominators: ArrayLike,
    higher_is_better: bool = True,
    is_share: bool = True,
) -> Measure:
    """Sum of numerators divided by sum of denominators, such as loss per token; 0.0 if the denominators sum to 0.

    Args:
        name: name of the metric.
        numerators: `[rows]`.
        denominators: `[rows]`.
        higher_is_better: false for a loss.
        is_share: whether the ratio is a number from 0 to 1.
    """
    parts = [numpy.asarray(part, dtype=numpy.float64) for part in (numerators, denominators)]
    return Measure(name, numpy.stack(parts, axis=1), _first_over_second, higher_is_better, is_share)


def quotient(numerator: ArrayLike, denominator: ArrayLike) -> numpy.ndarray:
    """Elementwise division, with 0.0 where the denominator is 0; no warnings."""
    above, below = numpy.broadcast_arrays(
        numpy.asarray(numerator, dtype=numpy.float64), numpy.asarray(denominator, dtype=numpy.float64)
    )
    return numpy.divide(above, below, out=numpy.zeros(above.shape), where=below != 0)


def f1(hits: ArrayLike, predicted: ArrayLike, gold: ArrayLike) -> numpy.ndarray:
    """Harmonic mean of precision `hits / predicted` and recall `hits / gold` (van Rijsbergen 1979, ch. 7, beta = 1).

    It equals `2 hits / (predicted + gold)`, and is 0.0 if nothing is predicted and nothing is gold.
    """
    return quotient(2 * numpy.asarray(hits), numpy.asarray(predicted) + numpy.asarray(gold))


def _first_over_second(sums: numpy.ndarray) -> numpy.ndarray:
    return quotient(sums[..., 0], sums[..., 1])
