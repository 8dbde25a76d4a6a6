"""Numbers in a label column: whether they are amounts, which are learned as a score, or names of classes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?")
_MOST_CLASSES = 20
"""Whole numbers that count classes are rarely more, unless every number from the first to the last recurs."""
_MIN_ROWS = 5
_FEWEST_AMOUNTS = 3
"""Of fewer different numbers nothing shows whether they are amounts."""


def number_of(text: str) -> float | None:
    """A finite number, with a decimal point or comma; None if the text is none."""
    if not _NUMBER.fullmatch(text.strip()):
        return None
    number = float(text.strip().replace(",", "."))
    return number if math.isfinite(number) else None


def are_amounts(labels: Sequence[str], is_named_so: bool) -> bool:
    """Whether the labels of a column are amounts rather than classes.

    Fractions are, and so are whole numbers in a column such as `score` or `stars`, and many different ones. Whole
    numbers that count from 0 or 1 without a gap and recur are the numbers of classes.

    Args:
        labels: of all rows that have one.
        is_named_so: whether the name of the column says that it holds amounts.
    """
    numbers = [number_of(label) for label in labels]
    found = [number for number in numbers if number is not None]
    distinct = set(found)
    if len(found) < len(numbers) or len(distinct) < _FEWEST_AMOUNTS:
        return False
    if is_named_so or any(number != int(number) for number in distinct):
        return True
    counts_up = min(distinct) in (0, 1) and max(distinct) - min(distinct) < 1.1 * len(distinct)
    return len(distinct) > _MOST_CLASSES and not (counts_up and len(found) >= _MIN_ROWS * len(distinct))


def could_be_amounts(labels: Sequence[str]) -> bool:
    """Whether whole numbers that are taken as classes could as well be amounts: they count from 1, as stars do, or
    they are many."""
    distinct = {number_of(label) for label in labels}
    numbers = [number for number in distinct if number is not None]
    if len(numbers) < len(distinct) or len(numbers) < _FEWEST_AMOUNTS:
        return False
    return (min(numbers) == 1 and max(numbers) == len(numbers)) or len(numbers) > _MOST_CLASSES
