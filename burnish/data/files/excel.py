"""Reads worksheets of Excel and OpenDocument files as rows."""

from __future__ import annotations

import datetime
import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from burnish.data.files.dialects import MOST_ABOVE, describe_titles, lines_above_header
from burnish.data.files.opening import MOST_TIMES, SMALL_BYTES, is_compressed, open_binary
from burnish.data.files.tables import check_header, names_of_headerless_rows
from burnish.data.files.worksheet_area import spanned_cells
from burnish.data.rows.row import Rejected, Row, note_on, quoted
from burnish.errors import DataError, is_panic
from burnish.system.shell import quoted as shell_quoted

SUFFIXES = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods")
_MANY_CELLS = 4_000_000
"""A worksheet that spans more must have at least as many bytes; one with a value in every third cell has."""


def read_excel(path: Path) -> Iterator[Row | Rejected]:
    """Rows of the only worksheet that has any."""
    return read_worksheet(path, only_worksheet(path))


@dataclass(frozen=True, slots=True)
class Worksheet:
    """What a worksheet holds."""

    cells: list[list[Any]]
    """Of each row from the first, with the value of merged cells in each row that they span."""
    filled: frozenset[int] = frozenset()
    """Places of the columns with merged cells."""
    grouping: frozenset[int] = frozenset()
    """Numbers of rows, from 1, with cells that are merged across columns."""


def worksheets(path: Path) -> dict[str, Worksheet]:
    """Each worksheet that is not empty, by its name.

    Raises:
        DataError: the file cannot be read.
    """
    import python_calamine

    with open_binary(path) as opened:
        try:
            stream = io.BytesIO(opened.read()) if is_compressed(path) else opened
            _check_size(path, stream)
            stream.seek(0)
            book = python_calamine.CalamineWorkbook.from_filelike(stream)
            found = {name: book.get_sheet_by_name(name) for name in book.sheet_names}
            cells = {name: _filled(one) for name, one in found.items()}
        except (python_calamine.CalamineError, zipfile.BadZipFile) as error:
            raise DataError(
                f"`{path}` cannot be read as an Excel or OpenDocument file",
                "It needs a password."
                if isinstance(error, python_calamine.PasswordError)
                else "It is incomplete, or something else under that name.",
                "Save it again without a password, or export it as CSV",
            ) from error
        except BaseException as error:
            if not is_panic(error):
                raise
            raise DataError(
                f"`{path}` cannot be read as an Excel or OpenDocument file",
                "The library that reads such files fails on it.",
                "Export it as CSV",
            ) from error
    return {name: one for name, one in cells.items() if any(map(_has_value, one.cells))}


def _filled(worksheet: Any) -> Worksheet:
    """A worksheet, with the value of cells that are merged downwards in each of their rows: the file has it once."""
    cells, filled = worksheet.to_python(skip_empty_area=False), set[int]()
    left_to_fill = len(cells) * max(map(len, cells), default=0)  # regions that overlap are no workbook's
    regions = worksheet.merged_cell_ranges or []
    grouping = frozenset(top + 1 for (top, left), (_, right) in regions if left < right)
    for (top, left), (bottom, _) in regions:
        if not top < bottom or top >= len(cells) or left >= len(cells[top]) or str(cells[top][left]) == "":
            continue
        filled.add(left)
        left_to_fill -= bottom - top
        if left_to_fill < 0:
            break
        for row in cells[top + 1 : bottom + 1]:
            row[left] = cells[top][left]
    return Worksheet(cells, frozenset(filled), grouping)


def only_worksheet(path: Path) -> str:
    """The name of the only worksheet with rows.

    Raises:
        DataError: several have rows, or none.
    """
    names = list(worksheets(path))
    if not names:
        raise DataError(f"`{path}` is empty", "None of its worksheets has a cell.", "Add a header row and rows")
    if len(names) > 1:
        raise DataError(
            f"`{path}` has {len(names)} worksheets with rows: {quoted(names)}",
            "Which one is meant is not clear.",
            f"Name it: `burnish train {shell_quoted(f'{path}:{names[0]}')}`. Worksheets named train, validation and "
            "test are all used",
        )
    return names[0]


def read_worksheet(path: Path, name: str) -> Iterator[Row | Rejected]:
    """Rows of a worksheet; `line` is the row's number in it.

    Raises:
        DataError: there is no such worksheet, or its header cannot be used.
    """
    found = worksheets(path)
    if name not in found:
        raise DataError(
            f"`{path}` has no worksheet `{name}` with rows",
            f"Those with rows are {quoted(found)}.",
            "Name one of these",
        )
    numbered = [(number, row) for number, row in enumerate(found[name].cells, start=1) if _has_value(row)]
    width = 1 + max(place for _, row in numbered for place, cell in enumerate(row) if cell != "")
    rows = [(number, [_plain(cell) for cell in row[:width]]) for number, row in numbered]
    above = lines_above_header(["\t".join(map(str, cells)) for _, cells in rows[:MOST_ABOVE]])
    above += _rows_that_group(rows[above:], found[name].grouping)
    rows = rows[above:]
    header, headerless = names_of_headerless_rows([[str(cell) for cell in cells] for _, cells in rows])
    first, cells = rows[0]
    if header is None:
        header = check_header(f"{path}:{name}", first, [str(cell) for cell in cells], "")
        rows = rows[1:]
    merged = [header[place] for place in sorted(found[name].filled) if place < len(header)]
    remarks = [describe_titles(above)] if above else []
    remarks += [f"has merged cells, whose value counts for each of their rows, in {quoted(merged)}"] if merged else []
    note = note_on(path.name, [f"is read from its worksheet `{name}`", headerless, *remarks])
    file = str(path)
    for number, cells in rows:
        yield Row(dict(zip(header, cells, strict=True)), file, number, note)


def _rows_that_group(rows: Sequence[tuple[int, list[Any]]], grouping: frozenset[int]) -> int:
    """How many rows name groups of columns, in cells that are merged across them, above a row that names each."""
    number = next((place for place, (line, _) in enumerate(rows[:MOST_ABOVE]) if line not in grouping), 0)
    return number if all(isinstance(cell, str) and cell.strip() for cell in rows[number][1]) else 0


def _has_value(row: Sequence[Any]) -> bool:
    return any(str(cell).strip() for cell in row)


def _plain(cell: Any) -> Any:
    """A cell as JSON would hold it: Excel stores whole numbers as floats."""
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    return cell.isoformat() if isinstance(cell, (datetime.date, datetime.time)) else cell


def _check_size(path: Path, stream: BinaryIO) -> None:
    """Raises DataError for a workbook that unpacks to far more than a table shrinks to, or spans far more cells."""
    if not zipfile.is_zipfile(stream):
        return
    with zipfile.ZipFile(stream) as archive:
        size, packed = sum(entry.file_size for entry in archive.infolist()), path.stat().st_size
        if size > max(SMALL_BYTES, MOST_TIMES * packed):
            raise DataError(
                f"`{path}` would take {size / 1e9:,.1f} GB unpacked, from {packed / 1e6:,.1f} MB",
                f"That is more than {MOST_TIMES} times its size, far more than a table shrinks to.",
                "Export it as CSV",
            )
        cells = spanned_cells(archive)
    if cells > max(_MANY_CELLS, size):
        raise DataError(
            f"`{path}` has a worksheet of {cells:,} cells, nearly all of them empty or repeated",
            "All cells from the first to the last are read, and these would fill the memory.",
            "Remove what is far below or beside the table, or export it as CSV",
        )
