"""Whether a noisy series rises or falls."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy
from numpy.typing import ArrayLike

_MOST_BLOCKS = 100


def trend(values: Sequence[float]) -> float:
    """How surely a series rises (above 0) or falls (below 0), in standard deviations, by Mann and Kendall's test.

    It counts the pairs that rise less those that fall; without a trend that number has mean 0 and variance
    n (n - 1) (2n + 5) / 18, whatever the noise is (Mann 1945; Kendall 1975), ties aside. Long series are first averaged
    to a hundred equal blocks. 0.0 for fewer than four values.
    """
    means = blocks(values)
    n = len(means)
    if n < 4:
        return 0.0
    score = float(numpy.sign(means[None, :] - means[:, None])[numpy.triu_indices(n, 1)].sum())
    return (score - numpy.sign(score)) / math.sqrt(n * (n - 1) * (2 * n + 5) / 18)


def blocks(values: Sequence[float], most: int = _MOST_BLOCKS) -> numpy.ndarray:
    """`[blocks]`: means of at most so many parts of equal length; the oldest values that fill no part are left out."""
    numbers = numpy.asarray(values, dtype=numpy.float64)
    width = -(-len(numbers) // most) if len(numbers) else 1
    kept = numbers[len(numbers) % width :]
    return kept.reshape(-1, width).mean(axis=1)


def step_between(before: ArrayLike, after: ArrayLike) -> tuple[float, float]:
    """The mean of later values minus that of earlier ones, and the same in its standard errors (Welch 1947).

    (0.0, 0.0) where one side has fewer than two values.
    """
    first, second = (numpy.asarray(part, dtype=numpy.float64) for part in (before, after))
    if min(len(first), len(second)) < 2:
        return 0.0, 0.0
    change = float(second.mean() - first.mean())
    error = math.sqrt(first.var(ddof=1) / len(first) + second.var(ddof=1) / len(second))
    return change, change / max(error, 1e-12)
