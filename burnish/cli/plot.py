"""Curves over one another, in plain characters."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence

MARKS = string.ascii_lowercase
"""One for each curve, in turn."""
SEVERAL = "*"
"""Where points of several curves fall on one place."""
_STEEP = 10.0
"""From this ratio of the highest to the lowest value on, values are drawn by their logarithms."""
_LABEL = 9

Point = tuple[float, float | None]


def mark(curve: int) -> str:
    """The character of a curve, by its number."""
    return MARKS[curve % len(MARKS)]


def is_steep(curves: Sequence[Sequence[Point]]) -> bool:
    """Whether the values are drawn by their logarithms."""
    values = [y for curve in curves for _, y in _known(curve)]
    return bool(values) and min(values) > 0 and max(values) > _STEEP * min(values)


def plot(curves: Sequence[Sequence[Point]], width: int = 60, height: int = 12) -> list[str]:
    """The lines of a plot, with the ends of both axes told; empty where no curve has a point.

    Args:
        curves: points (x, y) of each; a y that is None or not finite is left out.
        width: characters of the field.
        height: lines of the field.
    """
    points = [point for curve in curves for point in _known(curve)]
    if not points:
        return []
    scale = math.log if is_steep(curves) else float
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    field = [[" "] * width for _ in range(height)]
    for number, curve in enumerate(curves):
        for x, y in _known(curve):
            line = field[height - 1 - _place(scale(y), scale(low), scale(high), height)]
            column = _place(x, left, right, width)
            line[column] = mark(number) if line[column] in (" ", mark(number)) else SEVERAL
    labels = [""] * height
    labels[-1], labels[0] = f"{low:.3g}", f"{high:.3g}"
    lines = [f"{label:>{_LABEL}} |{''.join(line)}".rstrip() for label, line in zip(labels, field, strict=True)]
    begin, end = f"{left:,.0f}", f"{right:,.0f}"
    axis = " " * (_LABEL + 2) + begin + end.rjust(width - len(begin))
    return [*lines, f"{'':>{_LABEL}} +{'-' * width}", axis]


def _known(curve: Sequence[Point]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in curve if y is not None and math.isfinite(y)]


def _place(value: float, low: float, high: float, cells: int) -> int:
    """The cell, from 0, of a value between two ends."""
    return round((value - low) / (high - low) * (cells - 1)) if high > low else 0
