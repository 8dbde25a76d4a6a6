"""A metric as a formula over column sums, so that one bootstrap serves all metrics; and tables of finer metrics."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class MetricTable:
    """A titled table, each row as long as `columns`; shares are numbers from 0 to 1, counts are integers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Measure:
    """A figure over rows: `formula(table.sum(0))`.

    An interval draws rows again and applies the same formula to the sums of every draw, `[resamples, k]`.
    """

    name: str
    table: numpy.ndarray
    """`[rows, k]`, float64: what each row adds to the sums."""
    formula: Callable[[numpy.ndarray], numpy.ndarray]
    """From sums `[..., k]` to figures `[...]`, for any leading axes."""
    higher_is_better: bool
    is_share: bool
    """A number from 0 to 1 that is shown in percent."""
    least: float = -math.inf
    """No such figure can be lower; of a share it is 0."""
    by_factors: bool = False
    """Above 0, and compared by factors, as perplexity is: its interval is made on the logarithm."""
    copies: numpy.ndarray | None = None
    """`[rows]`: how many rows that say the same each line of the table adds up; None where each is one."""


def value(measure: Measure) -> float:
    """The figure itself; 0.0 where there is nothing to judge."""
    return float(measure.formula(measure.table.sum(0)))


def added_up(measure: Measure, groups: numpy.ndarray) -> Measure:
    """The same figure of groups of rows, which an interval then draws as wholes.

    Args:
        measure: over rows.
        groups: `[rows]` int64: the number of each row's group, from 0.
    """
    table = numpy.zeros((int(groups.max()) + 1, measure.table.shape[1]))
    numpy.add.at(table, groups, measure.table)
    return replace(measure, table=table, copies=numpy.bincount(groups))


def mean(name: str, values: ArrayLike, higher_is_better: bool = True, is_share: bool = True) -> Measure:
    """Mean of one number a row.

    Args:
        name: of the figure.
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
    """Sum of numerators over sum of denominators, such as loss per token; 0.0 where the denominators sum to 0.

    Args:
        name: of the figure.
        numerators: `[rows]`.
        denominators: `[rows]`.
        higher_is_better: false for a loss.
        is_share: whether the ratio is a number from 0 to 1.
    """
    parts = [numpy.asarray(part, dtype=numpy.float64) for part in (numerators, denominators)]
    return Measure(name, numpy.stack(parts, axis=-1), _first_over_second, higher_is_better, is_share)


def quotient(numerator: ArrayLike, denominator: ArrayLike) -> numpy.ndarray:
    """Element by element, with 0.0 where the denominator is 0; no warnings."""
    above, below = numpy.broadcast_arrays(
        numpy.asarray(numerator, dtype=numpy.float64), numpy.asarray(denominator, dtype=numpy.float64)
    )
    return numpy.divide(above, below, out=numpy.zeros(above.shape), where=below != 0)


def f1(hits: ArrayLike, predicted: ArrayLike, gold: ArrayLike) -> numpy.ndarray:
    """Harmonic mean of precision `hits / predicted` and recall `hits / gold` (van Rijsbergen 1979, ch. 7, beta = 1).

    It equals `2 hits / (predicted + gold)`, and is 0.0 where nothing is predicted and nothing is there.
    """
    return quotient(2 * numpy.asarray(hits), numpy.asarray(predicted) + numpy.asarray(gold))


def _first_over_second(sums: numpy.ndarray) -> numpy.ndarray:
    return quotient(sums[..., 0], sums[..., 1])
