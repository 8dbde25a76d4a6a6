"""Nulls that are not in the data: those that a table adds to each row for the keys that only other rows have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from burnish.data.rows.row import Rejected, Row, note_on

ADDED_NULLS = (
    "has null in objects where other rows have a value; such keys are left out, because Arrow adds them to every row, "
    "so that they cannot be distinguished from nulls in the data"
)
"""A remark on a file."""
_IS_MESSAGE = ("role", "from")
_KEPT_IN_MESSAGES = ("content", "value")
"""Null is the usual content of a message that only calls a tool."""


def without_added_nulls(value: Any, depth: int = 0) -> tuple[Any, bool]:
    """A value without the keys that are null, at any depth, except the content of messages.

    All rows of an Arrow column share one schema: `{"city": "Rome"}` and `{"a": 1}` become `{"city": "Rome", "a": null}`
    and `{"city": null, "a": 1}`.

    Returns:
        The value, and whether a key was left out that may have mattered: one inside an object of an object, such as
        the arguments of a call. Messages without calls simply have no key for them.
    """
    if isinstance(value, list):
        items = [without_added_nulls(item, depth) for item in value]
        return [item for item, _ in items], any(dropped for _, dropped in items)
    if not isinstance(value, Mapping):
        return value, False
    is_message = any(key in value for key in _IS_MESSAGE)
    kept: dict[str, Any] = {}
    has_dropped = False
    for key, item in value.items():
        if item is None and not (is_message and key in _KEPT_IN_MESSAGES):
            has_dropped = has_dropped or depth > 0
            continue
        kept[key], dropped = without_added_nulls(item, depth + 1)
        has_dropped = has_dropped or dropped
    return kept, has_dropped


def without_nulls_of_tables(rows: Iterable[Row | Rejected], name: str) -> Iterator[Row | Rejected]:
    """Rows, and those that come from a table without the nulls that it added.

    Args:
        rows: of a file that need not be a table itself, such as JSON Lines that `datasets` wrote.
        name: of the file, for notes.
    """
    remark = note_on(name, [ADDED_NULLS])
    for row in rows:
        if isinstance(row, Rejected) or not any(map(_share_one_schema, row.values.values())):
            yield row
            continue
        found = {column: without_added_nulls(value) for column, value in row.values.items()}
        values = {column: value for column, (value, _) in found.items()}
        has_dropped = any(dropped for _, dropped in found.values())
        yield replace(row, values=values, note=f"{row.note} {remark}".strip() if has_dropped else row.note)


def _share_one_schema(cell: Any) -> bool:
    """Whether a cell has several messages with the same keys, and null for some of these, as only a table has them."""
    if not isinstance(cell, list) or len(cell) < 2 or not all(isinstance(one, dict) for one in cell):
        return False
    first = cell[0].keys()
    if first.isdisjoint(_IS_MESSAGE) or any(one.keys() != first for one in cell):
        return False
    return any(one[key] is None for one in cell for key in first if key not in _KEPT_IN_MESSAGES)
