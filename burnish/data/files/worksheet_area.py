"""How many cells the worksheets of a workbook span, found in its file before it is opened.

The library that reads workbooks makes a table of all cells from the first to the last, and repeats what is repeated:
two cells in opposite corners of a file of a kilobyte are seventeen billion, and the process is killed.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

_BLOCK_BYTES = 1 << 20
_LONGEST_TAG = 1 << 12
"""Bytes of a tag that are searched for its attributes."""
_PLACE = re.compile(rb"""\br\s*=\s*["']([A-Z]{0,3})([0-9]{1,9})["']""")
"""Where a row or a cell of Excel's XML is: `r="7"`, `r="AB7"`."""
_TAG = re.compile(rb"<table:(table|table-row|table-cell)(?=[\s/>])([^>]*)>")
_REPEATED = re.compile(rb"""number-(?:rows|columns)-repeated\s*=\s*["']([0-9]{1,9})["']""")
_ROW, _CELLS = 0, range(1, 12)
"""Types of records in Excel's binary worksheets: the head of a row, and cells."""


def spanned_cells(archive: zipfile.ZipFile) -> int:
    """Cells of the largest worksheet, from its first row and column to its last ones.

    Args:
        archive: a workbook of Excel (XML or binary) or OpenDocument; others have no such parts.
    """
    found = 0
    for entry in archive.infolist():
        is_cells = "worksheets/" in entry.filename.lower()
        with archive.open(entry) as part:
            if is_cells and entry.filename.lower().endswith(".xml"):
                found = max(found, _of_xml(part))
            elif is_cells and entry.filename.lower().endswith(".bin"):
                found = max(found, _of_records(part))
            elif entry.filename == "content.xml":
                found = max(found, _of_open_document(part))
    return found


def _blocks(part: object) -> Iterator[bytes]:
    """The bytes of a part in blocks, each with the end of the one before, so that no tag is cut."""
    stream: BinaryIO = part  # pyright: ignore[reportAssignmentType]  # `ZipExtFile` has what is used of it
    end = b""
    while block := stream.read(_BLOCK_BYTES):
        block = end + block
        yield block
        end = block[-_LONGEST_TAG:]


def _of_xml(part: object) -> int:
    rows = columns = 0
    for block in _blocks(part):
        places = set(_PLACE.findall(block))
        rows = max([rows, *(int(number) for _, number in places)])
        columns = max([columns, *map(_column, {letters for letters, _ in places})])
    return rows * columns


def _column(letters: bytes) -> int:
    """The number of a column, counted from 1: `AB` is the 28th."""
    number = 0
    for letter in letters:
        number = 26 * number + letter - ord("A") + 1
    return number


def _of_open_document(part: object) -> int:
    """Rows and cells may say how often they are repeated; only those up to the last one with a value count."""
    most = rows = columns = row = cell = times = 0
    for tag, attributes in _tags(part):
        if tag == b"table":
            rows = columns = row = times = 0
        elif tag == b"table-row":
            row, times, cell = row + times, _repeats(attributes), 0
        else:
            cell += _repeats(attributes)
            if not attributes.endswith(b"/"):
                rows, columns = max(rows, row + times), max(columns, cell)
                most = max(most, rows * columns)
    return most


def _tags(part: object) -> Iterator[tuple[bytes, bytes]]:
    stream: BinaryIO = part  # pyright: ignore[reportAssignmentType]
    end = b""
    while block := stream.read(_BLOCK_BYTES):
        block, last = end + block, 0
        for found in _TAG.finditer(block):
            last = found.end()
            yield found[1], found[2]
        end = block[max(last, len(block) - _LONGEST_TAG) :]


def _repeats(attributes: bytes) -> int:
    found = _REPEATED.search(attributes)
    return int(found[1]) if found else 1


def _of_records(part: object) -> int:
    """Excel's binary worksheets are records of a type, a length and content, the numbers in groups of seven bits."""
    stream: BinaryIO = part  # pyright: ignore[reportAssignmentType]
    rows = columns = 0
    while (kind := _number(stream, 2)) is not None and (size := _number(stream, 4)) is not None:
        content = stream.read(size)
        value = int.from_bytes(content[:4], "little") + 1
        if kind == _ROW:
            rows = max(rows, value)
        elif kind in _CELLS:
            columns = max(columns, value)
    return rows * columns


def _number(stream: BinaryIO, most: int) -> int | None:
    """A number of at most so many bytes, the lowest first; None at the end."""
    value = 0
    for place in range(most):
        byte = stream.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << 7 * place
        if byte[0] < 0x80:
            break
    return value
