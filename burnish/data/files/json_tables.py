"""Tables in JSON documents: by column, as numbered or named rows, and as rows of cells beside the names of columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from burnish.data.files.json_layouts import is_list_of_rows, is_numbered, is_row
from burnish.data.files.unnamed import is_list_of_cells
from burnish.data.rows.mapping import AS_COLUMNS
from burnish.data.rows.patterns import DIALOGUES
from burnish.data.rows.row import is_known_name

Table = tuple["list[dict[str, Any] | str]", str]
"""Rows, or what is wrong with them, and how they were read."""
_NAMES, _CELLS = ("columns", "header", "headers", "fields", "column_names"), ("data", "rows", "values", "records")
"""Keys of the names of columns, and of the rows of cells beside them."""
_FEWEST_ROWS = 10
"""Below keys of their own, that need not all have the same columns."""


def table_of(value: Mapping[str, Any]) -> Table | None:
    """The rows of an object that holds a table, and how they were read; None if it does not.

    The layouts are those of `DataFrame.to_json`: columns of lists or of numbered values, rows by number or by another
    key, and lists of cells beside the names of their columns.
    """
    names, cells = (next((value[key] for key in keys if key in value), None) for keys in (_NAMES, _CELLS))
    is_named = isinstance(names, list) and all(isinstance(name, (str, int)) for name in names)
    if is_named and isinstance(cells, list) and cells and all(isinstance(row, list) for row in cells):
        return [_of_cells([*map(str, names or [])], row) for row in cells], "as rows of cells"
    held = list(value.values())
    if held and all(isinstance(column, list) for column in held):
        return _of_columns(value)
    return _of_objects(value) if held and all(isinstance(inner, dict) and inner for inner in held) else None


def _of_cells(names: list[str], row: list[Any]) -> dict[str, Any] | str:
    same = len(row) == len(names)
    return dict(zip(names, row, strict=True)) if same else f"{len(row)} cells, but the header has {len(names)}"


def _of_columns(value: Mapping[str, Any]) -> Table | None:
    held = list(value.values())
    is_even = len({len(column) for column in held}) == 1 and held[0]
    if not is_even or any(is_list_of_rows(column) for column in held) or is_row(value):
        return None
    name = str(next(iter(value)))
    if len(held) == 1 and is_list_of_cells(held[0]) and not (is_known_name(name) or name.lower() in DIALOGUES):
        return None  # one list of rows without names, and not the one column of a table
    return [dict(zip(value, row, strict=True)) for row in zip(*held, strict=True)], AS_COLUMNS


def _of_objects(value: Mapping[str, Any]) -> Table | None:
    held = list(value.values())
    if any(is_list_of_rows(item) for inner in held for item in inner.values()):
        return None
    if len({tuple(inner) for inner in held}) > 1:
        common = set(held[0]).intersection(*held)
        return (held, "as rows by key") if len(held) >= _FEWEST_ROWS and any(map(is_known_name, common)) else None
    if len(held) == 1 and all(isinstance(row, dict) for row in held[0].values()):
        return None  # rows by key below one key, and not the one column of a table
    if is_numbered(held[0]):
        return [{name: column[key] for name, column in value.items()} for key in held[0]], AS_COLUMNS
    return (held, "as numbered rows") if len(held) > 1 else None


def tables_within(value: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The keys that lead to each table inside an object, which is none itself."""
    for key, inner in value.items():
        if isinstance(inner, dict) and table_of(inner) is not None:
            yield (*path, key)
        elif isinstance(inner, dict):
            yield from tables_within(inner, (*path, key))
