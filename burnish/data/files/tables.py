"""Reads CSV and TSV files, with or without a header row."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from burnish.data.files.dialects import DELIMITERS, Dialect, find_dialect, read_cells
from burnish.data.files.lines import describe_encoding, text_lines
from burnish.data.rows.row import Rejected, Row, is_known_name, note_on
from burnish.errors import DataError


def read_csv(path: Path) -> Iterator[Row | Rejected]:
    """Rows of a comma-separated file, or one with another delimiter that fits."""
    return read_table(path, ",")


def read_tsv(path: Path) -> Iterator[Row | Rejected]:
    """Rows of a tab-separated file, or one with another delimiter that fits."""
    return read_table(path, "\t")


def read_table(path: Path, usual: str) -> Iterator[Row | Rejected]:
    """Rows of a table; a row with the wrong number of cells or unclosed quotes is rejected.

    Args:
        path: file of the table.
        usual: the delimiter that the suffix of the name implies.

    Raises:
        DataError: the header row is missing or cannot be used.
    """
    file = str(path)
    header, dialect = find_names(path, find_dialect(path, usual))
    is_headerless = header is not None
    remarks = [describe_encoding(path), *dialect.remarks(usual), describe_headerless(header) if header else ""]
    note, has_long = note_on(path.name, remarks), False
    for line, cells, reason in read_cells(dialect.lines(path), dialect, finds_hidden=True):
        if reason and cells:
            raise DataError(
                f"{file}:{line}: {reason}",
                "A stray quote makes one cell of many rows, which would be lost.",
                "Remove that quote or double it; if the cell does hold these lines, give the rows as JSON Lines",
            )
        if header is None:
            if reason:
                raise DataError(f"{file}:{line}: the header row is invalid: {reason}", "", "Fix its quotes")
            header = check_header(file, line, cells, dialect.delimiter)
        elif not reason and len(cells) == len(header):
            over = 0 if has_long else max(cell.count("\n") for cell in cells)
            has_long = has_long or over > _MANY_LINES
            said = _LONG_CELL.format(lines=over + 1, line=line) if over > _MANY_LINES else ""
            values = dict(zip(header, cells, strict=True))
            yield Row(values, file, line, note_on(path.name, [*remarks, said]) if said else note)
        else:
            named = "the other rows have" if is_headerless else "the header has"
            yield Rejected(file, line, reason or f"{len(cells)} cells, but {named} {len(header)}")
    if header is None:
        raise DataError(f"`{file}` is empty", "It contains only blank lines.", "Add a header row and rows")


_MANY_LINES = 100
"""In a cell: a long document, or the work of a quote that was not meant to open one."""
_LONG_CELL = "has a cell of {lines} lines in the row of line {line}: if it should have fewer, a quote is missing there"


def find_names(path: Path, dialect: Dialect) -> tuple[list[str] | None, Dialect]:
    """The names of the columns if there is no header row, else None; and the dialect."""
    has_tabs = dialect.delimiter == "\t"
    unquoted = replace(dialect, is_quoted=dialect.is_quoted and not has_tabs)
    _, cells, _ = next(read_cells(unquoted.lines(path), unquoted), (0, [], ""))
    if not could_lack_header(cells):
        return None, dialect
    is_plain = has_tabs and has_plain_quotes(path, dialect.delimiter)
    likely = replace(dialect, is_quoted=dialect.is_quoted and not is_plain)
    names = names_of_headerless(first_rows(read_cells(likely.lines(path), likely)))
    return (names, likely) if names else (None, dialect)


def check_header(file: str, line: int, cells: list[str], delimiter: str) -> list[str]:
    """The names of the columns; an unnamed column is named by its position.

    Raises:
        DataError: two columns have the same name, or the file seems to use another separator.
    """
    names = [cell.strip() or f"column {number}" for number, cell in enumerate(cells, start=1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{file}:{line}: two columns are named `{twice[0]}`",
            "The first row of the file has the column names.",
            "Rename one of them",
        )
    other = next((mark for mark in ";\t," if delimiter and mark != delimiter and mark in names[0]), None)
    if len(names) == 1 and other:
        raise DataError(
            f"{file}:{line}: the columns seem to be separated by {DELIMITERS[other]}",
            "With it, most rows do not have as many cells as the header.",
            f"Put quotes around cells that contain {DELIMITERS[other]}",
        )
    return names


HEAD_ROWS = 10_000
_TEXT, _LABEL = "text", "label"
_MIN_ROWS_PER_LABEL = 5
"""Average number of rows per label needed to take a column as labels."""


def has_plain_quotes(path: Path, delimiter: str) -> bool:
    """Whether quotes in a tab-separated file are ordinary characters: in some line they are not balanced.

    Such lines are `"great movie<TAB>1` and `"great" movie<TAB>1`. A file with quoted cells has none, unless a cell
    spans several lines; but then it has a header row, and this function is not called.
    """
    for _, line in text_lines(path):
        if '"' in line:
            try:
                list(csv.reader([line], delimiter=delimiter, strict=True))
            except csv.Error:
                return True
    return False


def could_lack_header(cells: Sequence[str]) -> bool:
    """Whether the first row of a table may be data: it has two cells, and neither is a known column name."""
    return len(cells) == 2 and not any(map(is_known_name, cells))


def names_of_headerless_rows(rows: Sequence[Sequence[str]]) -> tuple[list[str] | None, str]:
    """The names of the columns of a table without a header row, and a phrase about it; (None, "") if it has one."""
    names = names_of_headerless(rows[:HEAD_ROWS]) if rows and could_lack_header(rows[0]) else None
    return names, describe_headerless(names) if names else ""


def names_of_headerless(rows: Sequence[Sequence[str]]) -> list[str] | None:
    """The names of the columns if the first row is clearly not a header, else None.

    It is not a header if nearly all rows have two cells, the first row's label occurs repeatedly among the few distinct
    ones below, and its text is like those below.

    Args:
        rows: cells of the first rows, including the very first.
    """
    pairs = [tuple(cells) for cells in rows if len(cells) == 2]
    if 100 * len(pairs) < 99 * len(rows) or pairs[:1] != [tuple(cells) for cells in rows[:1]]:
        return None
    fitting = [label for label in (0, 1) if _is_labelled(pairs, label) and _is_like_others(pairs, label)]
    if len(fitting) != 1:
        return None
    return [_TEXT, _LABEL] if fitting[0] == 1 else [_LABEL, _TEXT]


def find_labels(pairs: Sequence[Sequence[str]]) -> int | None:
    """Which of two columns has labels, 0 or 1, where the other has texts; None if none has, or both may."""
    fitting = [label for label in (0, 1) if pairs and _is_labelled(pairs, label)]
    return fitting[0] if len(fitting) == 1 else None


def describe_headerless(names: Sequence[str]) -> str:
    """The assumed column names, as a phrase after the name of the file."""
    first, second = names
    return f"has no header row; its two columns are read as `{first}` and `{second}`"


def first_rows(numbered: Any) -> list[list[str]]:
    """Cells of the first valid rows of (line, cells, reason)."""
    return [cells for _, cells, reason in islice(numbered, HEAD_ROWS) if not reason]


def _is_labelled(pairs: Sequence[Sequence[str]], label: int) -> bool:
    """Whether one column has labels, few and recurring, and the other texts."""
    labels, texts = _columns(pairs, label)
    is_few = _MIN_ROWS_PER_LABEL * len(set(labels)) <= len(labels)
    return is_few and 2 * len(set(texts)) > len(texts) and 2 * sum(" " in text for text in texts) > len(texts)


def _is_like_others(pairs: Sequence[Sequence[str]], label: int) -> bool:
    """Whether the first row has a label that recurs and a text like those below, and so is no header."""
    labels, texts = _columns(pairs, label)
    return labels.count(labels[0]) > 2 and " " in texts[0]


def _columns(pairs: Sequence[Sequence[str]], label: int) -> tuple[list[str], list[str]]:
    labels, texts = ([pair[column].strip() for pair in pairs] for column in (label, 1 - label))
    return labels, texts
