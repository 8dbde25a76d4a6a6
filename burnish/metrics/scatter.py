"""How far values scatter: around a smooth course, or between repetitions of the same thing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from burnish.metrics.significance import Noise

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
