"""Numbers in a label column: whether they are amounts, which are learned as a score, or names of classes."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?")
_SHARE = re.compile(r"([\d.,]+)\s*(?:/|out of)\s*(\d+)")
_UNIT = re.compile(r"\s*(?:%|stars?|points?)", re.IGNORECASE)
_CURRENCY = re.compile(r"[$€£¥₹]\s*|\s*[$€£¥₹]")
_POINTED = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3})+")
"""A number as German and other languages write thousands, which may as well have three decimals."""
_GROUPS = re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3}){2,}")
"""One that cannot be a decimal."""
_FEWEST_POINTED = 5
_STARS = re.compile(r"([★⭐]+)☆*")
_MOST_CLASSES = 20
"""Whole numbers that count classes are rarely more, unless every number from the first to the last recurs."""
_MOST_CLASSES_OF_PAIRS = 3
"""A pair of texts has classes such as entailment, or is similar to a degree."""
_MIN_ROWS = 5
_FEWEST_AMOUNTS = 3
"""Of fewer different numbers nothing shows whether they are amounts."""


def number_of(text: str) -> float | None:
    """A finite number, with a decimal point or comma, a comma between thousands, or a unit; None if the text is none.

    `3/5` is 0.6, `40 %` is 40, `4 stars` is 4, and `$1,137` is 1137. `1,200` is 1200: `mixed_notations` finds columns
    in which it may be 1.2.
    """
    text = text.strip()
    if found := _STARS.fullmatch(text):
        return float(len(found[1]))
    if _CURRENCY.match(text) or text[-1:] in "$€£¥₹":
        text = _CURRENCY.sub("", text, count=1)
    if unit := _UNIT.search(text):
        text = text[: unit.start()] if unit.end() == len(text) else text
    if found := _SHARE.fullmatch(text):
        part, whole = number_of(found[1]), float(found[2])
        return part / whole if part is not None and whole else None
    if _GROUPS.fullmatch(text):
        return float(text.replace(".", ""))
    if _THOUSANDS.fullmatch(text):
        return float(text.replace(",", ""))
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text.replace(",", "."))
    return number if math.isfinite(number) else None


def mixed_notations(labels: Sequence[str]) -> tuple[str, str] | None:
    """Two numbers of a column that are not written alike, so that one of them may be misread; None if all are alike."""
    thousands = [label for label in labels if _THOUSANDS.fullmatch(label.strip())]
    decimals = [label for label in labels if "," in label and label not in thousands]
    shares = [label for label in labels if label.endswith("%") or _SHARE.fullmatch(label.strip())]
    others = [label for label in labels if label not in set(shares)]
    for one, other in ((thousands, decimals), (shares, others), _pointed(labels)):
        if one and other:
            return one[0], other[0]
    return None


def _as_decimal(text: str) -> float:
    return float(".".join(text.split(".")[:2]))


def _pointed(labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """Numbers in which a point may separate thousands, and whole numbers beside them of which each is larger than any
    of these would be as a decimal; none where the points are those of decimals."""
    texts = [label.strip() for label in labels]
    pointed, whole = ([text for text in texts if ("." in text) == has_point] for has_point in (True, False))
    groups = [text for text in pointed if _GROUPS.fullmatch(text)]
    if 0 < len(groups) < len(pointed):
        return [text for text in pointed if text not in groups], groups
    is_even = len(pointed) >= _FEWEST_POINTED and all(map(_POINTED.fullmatch, pointed))
    is_even = is_even and all(map(str.isdecimal, whole))
    if not is_even or not whole or max(_as_decimal(text) for text in pointed) >= min(map(int, whole)):
        return [], []
    return pointed, whole


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
    if not is_named_so and any("/" in label for label in labels):
        return False  # `1/2` may be a name
    is_written_so = any(label.endswith("%") or _THOUSANDS.fullmatch(label.strip()) for label in labels)
    if is_named_so or is_written_so or any(number != int(number) for number in distinct):
        return True
    counts_up = min(distinct) in (0, 1) and max(distinct) - min(distinct) < 1.1 * len(distinct)
    return len(distinct) > _MOST_CLASSES and not (counts_up and len(found) >= _MIN_ROWS * len(distinct))


def could_be_amounts(labels: Sequence[str], is_pair: bool = False) -> bool:
    """Whether whole numbers that are taken as classes could as well be amounts.

    They count from 1, as stars do, they are many, or they are more than pairs of texts usually have classes.
    """
    distinct = {number_of(label) for label in labels}
    numbers = [number for number in distinct if number is not None]
    if len(numbers) < len(distinct) or len(numbers) < _FEWEST_AMOUNTS or any(number % 1 for number in numbers):
        return False
    return (min(numbers) == 1 and max(numbers) == len(numbers)) or len(numbers) > (
        _MOST_CLASSES_OF_PAIRS if is_pair else _MOST_CLASSES
    )
