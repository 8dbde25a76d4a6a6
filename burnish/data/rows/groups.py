"""Rows that stay in one split because a column has the same value in them, for example of patients or documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from burnish.data.rows.row import Row, as_text, did_you_mean, quoted
from burnish.errors import DataError


def describe_groups(rows: Sequence[Row], column: str | None) -> list[str]:
    """A sentence about the groups of all rows; none without a column."""
    if not column:
        return []
    without, names = 0, set[str]()
    for row in rows:
        name = row.values.get(column)
        if _is_missing(name):
            without += 1
        else:
            names.add(str(name))
    alone = f" {without:,} rows have none, and are taken one by one." if without else ""
    return [f"Rows with the same `{column}` stay in one split: it has {len(names):,} values.{alone}"]


def refuse_missing_group(rows: Sequence[Row], group: str | None) -> None:
    """Checks that the column of `data.group` exists.

    Raises:
        DataError: no row has it; similar names are suggested.
    """
    if not group or any(group in row.values for row in rows):
        return
    found = list(dict.fromkeys(str(name) for row in rows for name in row.values))
    raise DataError(
        f"there is no column `{group}`, but `data.group` refers to it",
        f"The columns are {quoted(found)}.",
        did_you_mean(group, found) or "Set `data.group` to one of these",
    )


def group_of(row: Row, column: str) -> str:
    """The group of a row as text; empty if it has none. Raises RowError for a value that is no text."""
    value = row.values.get(column)
    return "" if _is_missing(value) else (as_text(value, column) or "").strip()


def _is_missing(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())
