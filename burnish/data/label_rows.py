"""Rows of a text, or a pair of texts, with a label or labels."""

from __future__ import annotations

import contextlib
import decimal
import math
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.columns import as_text
from burnish.data.patterns import Field, Pattern, pick
from burnish.data.records import LabelledRecord
from burnish.data.row import RowError

_FEWEST_TELLING = 10
"""In fewer rows than this, labels that are all different may still be labels."""


def labelled_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> LabelledRecord:
    """One text or two, with a label, or with a list of labels that may be empty.

    Raises:
        RowError: a text is empty, or the label is missing or no label.
    """
    texts = tuple(_text(*pick(values, field)) for field in pattern.required[:-1])
    name, value = pick(values, pattern.required[-1])
    if isinstance(value, (list, tuple)):
        return LabelledRecord(texts, _label_set(value, name), True, place)
    return LabelledRecord(texts, (label_name(value, name),), False, place)


def label_name(value: Any, column: str) -> str:
    """A label as text: numbers as JSON spells them, so that 1, 1.0 and "1" are the same; no space around it.

    Raises:
        RowError: there is none, or it is no single value.
    """
    if isinstance(value, (dict, list)):
        found = "an object" if isinstance(value, dict) else "a list"
        raise RowError(f"`{column}` holds {found} where one label belongs")
    if isinstance(value, (float, decimal.Decimal)) and math.isfinite(value) and value == int(value):
        value = int(value)
    elif isinstance(value, (float, decimal.Decimal)) and not math.isfinite(value):
        value = None
    text = as_text(value, column)
    if text is None or not text.strip():
        raise RowError(f"`{column}` is empty: the row has no label")
    return text.strip()


def are_labels(rows: Sequence[Mapping[str, Any]], field: Field) -> bool:
    """Whether the label column of rows that have a text besides seems to hold labels.

    It does not where no row has any, or where each of ten rows or more has its own: such a column is an id, or
    another text.
    """
    told = []
    for values in rows:
        name, value = pick(values, field)
        if isinstance(value, list):
            return True
        with contextlib.suppress(RowError):
            told.append(label_name(value, name))
    return bool(told) and (len(told) < _FEWEST_TELLING or len(set(told)) < len(told))


def in_order(labels: set[str]) -> list[str]:
    """Labels sorted: by number where all are numbers, else by name."""
    try:
        return sorted(labels, key=lambda label: (_number(label), label))
    except ValueError:
        return sorted(labels)


def _number(label: str) -> float:
    """Raises ValueError where the label is no finite number."""
    number = float(label)
    if not math.isfinite(number):
        raise ValueError(label)
    return number


def _label_set(values: Sequence[Any], column: str) -> tuple[str, ...]:
    names = [label_name(value, column) for value in values]
    if len(set(names)) < len(names) and set(names) <= {"0", "1"}:
        raise RowError(f"`{column}` holds a 0 or 1 for each label; a list holds the names of the row's labels")
    return tuple(in_order(set(names)))


def _text(name: str, value: Any) -> str:
    text = as_text(value, name)
    if text is None or not text.strip():
        raise RowError(f"`{name}` is empty")
    return text
