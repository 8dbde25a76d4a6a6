"""Reads CSV and TSV files, with or without a header row."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from burnish.data.files.lines import text_lines
from burnish.data.rows.row import FIELDS, OTHER_NAMES, Rejected, Row
from burnish.errors import DataError

# The default of 131,072 characters is too short for long conversations.
LARGEST_CELL_CHARACTERS = 2**30


class LineFeed:
    """Feeds lines to a CSV reader and remembers those of the current row, so that they can be read again."""

    def __init__(self, lines: Iterator[tuple[int, str]]) -> None:
        self.lines = lines
        self.replay: list[tuple[int, str]] = []
        self.current: list[tuple[int, str]] = []

    def __iter__(self) -> LineFeed:
        return self

    def __next__(self) -> str:
        numbered = self.replay.pop() if self.replay else next(self.lines)
        self.current.append(numbered)
        return numbered[1]

    def begin_row(self) -> None:
        """Forgets the lines of the previous row."""
        self.current.clear()

    def resume_after_first(self) -> None:
        """Feeds the lines of this row again, except the first."""
        self.replay.extend(reversed(self.current[1:]))

    @property
    def first(self) -> int:
        """1-based line where this row begins."""
        return self.current[0][0]

    @property
    def span(self) -> str:
        """The lines of this row, if several, as a phrase to append to a reason."""
        last = self.current[-1][0]
        return f" (lines {self.first} to {last})" if last > self.first else ""


def read_csv(path: Path) -> Iterator[Row | Rejected]:
    """Rows of a comma-separated file."""
    return read_table(path, ",")


def read_tsv(path: Path) -> Iterator[Row | Rejected]:
    """Rows of a tab-separated file."""
    return read_table(path, "\t")


def read_table(path: Path, delimiter: str) -> Iterator[Row | Rejected]:
    """Rows of a table; a row with the wrong number of cells or unclosed quotes is rejected.

    Raises:
        DataError: the header row is missing or cannot be used.
    """
    file = str(path)
    header, is_quoted = find_names(path, delimiter)
    note = describe_headerless(path, header) if header else ""
    for line, cells, reason in read_cells(path, delimiter, is_quoted):
        if header is None:
            if reason:
                raise DataError(f"{file}:{line}: the header row is invalid: {reason}", "", "Fix its quotes")
            header = check_header(file, line, cells, delimiter)
        elif not reason and len(cells) == len(header):
            yield Row(dict(zip(header, cells, strict=True)), file, line, note)
        else:
            named = "the other rows have" if note else "the header has"
            yield Rejected(file, line, reason or f"{len(cells)} cells, but {named} {len(header)}")
    if header is None:
        raise DataError(f"`{file}` is empty", "It contains only blank lines.", "Add a header row and rows")


def find_names(path: Path, delimiter: str) -> tuple[list[str] | None, bool]:
    """The names of the columns if there is no header row, else None; and whether quotes enclose cells."""
    has_tabs = delimiter == "\t"
    _, cells, _ = next(read_cells(path, delimiter, not has_tabs), (0, [], ""))
    if not could_lack_header(cells):
        return None, True
    is_quoted = not (has_tabs and has_plain_quotes(path, delimiter))
    names = names_of_headerless(first_rows(read_cells(path, delimiter, is_quoted)))
    return names, is_quoted or names is None


def read_cells(path: Path, delimiter: str, is_quoted: bool) -> Iterator[tuple[int, list[str], str]]:
    """Yields (line where the row begins, cells, what is wrong with it or empty); blank lines are skipped.

    Args:
        path: file of the table.
        delimiter: separator of cells.
        is_quoted: whether quotes enclose cells or are ordinary characters.
    """
    quoting = csv.QUOTE_MINIMAL if is_quoted else csv.QUOTE_NONE
    csv.field_size_limit(LARGEST_CELL_CHARACTERS)
    feed = LineFeed(text_lines(path))
    reader = csv.reader(feed, delimiter=delimiter, strict=True, quoting=quoting)
    while True:
        feed.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "unexpected end of data" not in str(error):
                yield feed.first, [], f"invalid row: {str(error).partition(' - ')[0]}{feed.span}"
                continue
            # The quote extends to the end of the file: reject only the line where it opens, and read the rest again.
            yield feed.first, [], "a quote opens here and is never closed"
            feed.resume_after_first()
            reader = csv.reader(feed, delimiter=delimiter, strict=True, quoting=quoting)
            continue
        if any(cell.strip() for cell in cells):
            yield feed.first, cells, ""


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
    other = next((mark for mark in ";\t," if mark != delimiter and mark in names[0]), None)
    if len(names) == 1 and other:
        wanted, found = (repr(mark).strip("'") for mark in (delimiter, other))
        raise DataError(
            f"{file}:{line}: the columns seem to be separated by `{found}`",
            f"The suffix of the name implies `{wanted}`.",
            "Rename the file to .tsv"
            if other == "\t"
            else "Rename the file to .csv"
            if other == ","
            else "Save it with commas",
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
    return len(cells) == 2 and not any(cell.strip().lower() in (*FIELDS, *OTHER_NAMES) for cell in cells)


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
    fitting = [label for label in (0, 1) if _is_labelled(pairs, label)]
    if len(fitting) != 1:
        return None
    return [_TEXT, _LABEL] if fitting[0] == 1 else [_LABEL, _TEXT]


def describe_headerless(path: Path, names: Sequence[str]) -> str:
    """A sentence about the assumed column names."""
    first, second = names
    return f"`{path.name}` has no header row; its two columns are read as `{first}` and `{second}`."


def first_rows(numbered: Any) -> list[list[str]]:
    """Cells of the first valid rows of (line, cells, reason)."""
    return [cells for _, cells, reason in islice(numbered, HEAD_ROWS) if not reason]


def _is_labelled(pairs: Sequence[Sequence[str]], label: int) -> bool:
    """Whether one column has labels and the other texts, including the first row."""
    labels, texts = ([pair[column].strip() for pair in pairs] for column in (label, 1 - label))
    counts = Counter(labels)
    is_shared = counts[labels[0]] > 2 and _MIN_ROWS_PER_LABEL * len(counts) <= len(labels)
    is_text = 2 * len(set(texts)) > len(texts) and 2 * sum(" " in text for text in texts) > len(texts)
    return is_shared and is_text and " " in texts[0]
