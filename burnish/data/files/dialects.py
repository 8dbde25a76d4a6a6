"""The dialect of a table: what separates its cells and how they are quoted, inferred from its first rows."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from burnish.data.files.lines import text_lines
from burnish.data.rows.row import FIELDS, OTHER_NAMES

# The default of 131,072 characters is too short for long conversations.
LARGEST_CELL_CHARACTERS = 2**30
DELIMITERS = {",": "`,`", ";": "`;`", "\t": "tabs", "|": "`|`"}
"""Separators of cells, each as a message names it."""
Numbered = tuple[int, str]
"""A line's 1-based number and its text."""

_SAMPLE_LINES = 10_000
MOST_ABOVE = 6
"""Lines in which the header is looked for."""
_MIN_SHARE = 0.9
"""Share of the rows that must have as many cells as the header for a delimiter to be taken."""
_MIN_BROKEN_LINES = 3
"""Lines with broken quotes for quotes to be taken as ordinary characters; fewer are errors of single rows."""
_FEWEST_HIDDEN = 10
"""Lines of a cell that all have as many cells as the header: so many are no coincidence."""
_DECLARATION = re.compile(r'"?sep=([,;\t|])"?', re.IGNORECASE)
_ESCAPED_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)\\"')
_ENCLOSED = re.compile(r'(?:^|[,;\t|])"((?:[^"]|"")*)"(?=[,;\t|\r\n]|$)')


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a row is split into cells."""

    delimiter: str
    is_quoted: bool = True
    """Whether quotes enclose cells or are ordinary characters."""
    escapes_quotes: bool = False
    r"""Whether a quote inside a cell is written `\"` instead of `""`."""
    skips_spaces: bool = False
    """Whether spaces after a delimiter are not part of the cell."""
    is_declared: bool = False
    """Whether the first line is no row but names the delimiter, as Excel writes it: `sep=;`."""
    titles: int = 0
    """Number of lines above the header, such as a title."""

    def lines(self, path: Path) -> Iterator[Numbered]:
        """The lines of a table's file, from its header on."""
        return islice(text_lines(path), self.titles + self.is_declared, None)

    def reader(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """The cells of each row; raises csv.Error for broken quotes."""
        if self.escapes_quotes:
            lines = _UnescapedLines(iter(lines))
        csv.field_size_limit(LARGEST_CELL_CHARACTERS)
        quoting = csv.QUOTE_MINIMAL if self.is_quoted else csv.QUOTE_NONE
        options = {"delimiter": self.delimiter, "strict": True, "skipinitialspace": self.skips_spaces}
        return csv.reader(lines, quoting=quoting, **options)

    def remarks(self, usual: str) -> list[str]:
        """What is unusual about it, as phrases after the name of the file.

        Args:
            usual: the delimiter that the suffix of the name implies.
        """
        return [
            *([f"has columns separated by {DELIMITERS[self.delimiter]}"] if self.delimiter != usual else []),
            *(["has quotes that are ordinary characters, not around cells"] if not self.is_quoted else []),
            *(['has quotes inside cells written as `\\"`'] if self.escapes_quotes else []),
            *([describe_titles(self.titles)] if self.titles else []),
        ]


class _UnescapedLines:
    """Lines with `\\"` replaced by two quotes, which the CSV reader understands; other backslashes stay."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines = lines

    def __iter__(self) -> _UnescapedLines:
        return self

    def __next__(self) -> str:
        return _ESCAPED_QUOTE.sub(r'\1""', next(self.lines))


class LineFeed:
    """Feeds lines to a CSV reader and remembers those of the current row, so that they can be read again."""

    def __init__(self, lines: Iterator[Numbered]) -> None:
        self.lines = lines
        self.replay: list[Numbered] = []
        self.current: list[Numbered] = []

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


def read_cells(
    lines: Iterator[Numbered], dialect: Dialect, finds_hidden: bool = False
) -> Iterator[tuple[int, list[str], str]]:
    """Yields (line where the row begins, cells, what is wrong with it or empty); blank lines are skipped.

    Args:
        lines: from the header on.
        dialect: of the table.
        finds_hidden: whether rows are looked for in cells of many lines. A row whose cell has some is wrong; if its
            quotes are broken, too, it has no cells, and the lines after its first are read again.
    """
    feed = LineFeed(lines)
    reader = dialect.reader(feed)
    width = 0
    while True:
        feed.begin_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            hidden = _hidden_rows(feed, dialect, width) if finds_hidden else ""
            if "unexpected end of data" not in str(error) and not hidden:
                yield feed.first, [], f"invalid row: {str(error).partition(' - ')[0]}{feed.span}"
                continue
            # The quote extends over other rows: reject only the line where it opens, and read the rest again.
            yield feed.first, [], hidden or "a quote opens here and is never closed"
            feed.resume_after_first()
            reader = dialect.reader(feed)
            continue
        if any(cell.strip() for cell in cells):
            yield feed.first, cells, _hidden_rows(feed, dialect, width) if finds_hidden else ""
            width = width or len(cells)


def _hidden_rows(feed: LineFeed, dialect: Dialect, width: int) -> str:
    """What is wrong with a row of many lines that have the cells of rows themselves; empty if they have not.

    Args:
        feed: whose current row it is.
        dialect: of the table.
        width: cells of the header.
    """
    inner = [line for _, line in feed.current[1:-1]]
    if width < 2 or len(inner) < _FEWEST_HIDDEN:
        return ""
    alike = sum(_cells_alone(line, dialect) == width for line in inner)
    if alike < _MIN_SHARE * len(inner):
        return ""
    return f"a quote opens here and closes in line {feed.current[-1][0]}, after {alike} lines with the cells of rows"


def _cells_alone(line: str, dialect: Dialect) -> int:
    """The number of cells of a line as a row of its own; 0 if it is none."""
    try:
        return len(next(dialect.reader([line]), []))
    except csv.Error:
        return 0


def find_dialect(path: Path, usual: str) -> Dialect:
    """The dialect of a table, from its first rows.

    Args:
        path: file of the table.
        usual: the delimiter that the suffix of the name implies; it is taken wherever it fits.
    """
    lines = list(islice(text_lines(path), _SAMPLE_LINES))
    declared = _DECLARATION.fullmatch(lines[0][1].strip("\n")) if lines else None
    if declared:
        lines = lines[1:]
        dialect = Dialect(declared[1], is_declared=True)
    else:
        titles = lines_above_header([line.strip("\n") for _, line in lines[:MOST_ABOVE]])
        lines = lines[titles:]
        dialect = Dialect(_find_delimiter(lines, usual), titles=titles)
    if not any('"' in line for _, line in lines):
        return dialect
    broken = _broken_lines(lines, dialect)
    if not broken:
        return dialect
    for changed in (replace(dialect, escapes_quotes=True), replace(dialect, skips_spaces=True)):
        if not _broken_lines(lines, changed):
            return changed
    plain = replace(dialect, is_quoted=False)
    is_plain = broken >= max(_MIN_BROKEN_LINES, _quoted_lines(lines)) and not _broken_lines(lines, plain)
    return plain if is_plain else dialect


def lines_above_header(lines: Sequence[str]) -> int:
    """Number of the first lines that are a title or comments, because a later one has the usual names of columns.

    Args:
        lines: the first of a table, without their line ends.
    """
    groups: int | None = None
    for number, line in enumerate(lines):
        cells = [cell.strip(' "').lower() for cell in re.split("[,;\t|]", line)]
        filled = [cell for cell in cells if cell]
        is_merged = 2 * len(filled) <= len(cells)  # names of groups of columns, each in the first of its cells
        is_known = (
            len(cells) > 1 and not line.startswith("#") and any(cell in (*FIELDS, *OTHER_NAMES) for cell in cells)
        )
        if is_known and not (is_merged and groups is None):
            groups = number if groups is None or not is_merged else groups
            return groups if any(above.strip(" ,;\t|") for above in lines[:groups]) else 0
        if groups is not None:
            return groups
        groups = number if is_known else None
        is_title = (len(filled) < 2 or is_merged) and cells[0] not in (*FIELDS, *OTHER_NAMES)
        if not is_known and not is_title and not line.startswith("#"):
            return 0
    return groups or 0


def describe_titles(number: int) -> str:
    """That lines above the header are not used, as a phrase after the name of the file."""
    return f"has {number} line{'s' * (number > 1)} above its header, which {'are' if number > 1 else 'is'} not used"


def _find_delimiter(lines: Sequence[Numbered], usual: str) -> str:
    """The delimiter that gives most rows as many cells as the header, the usual one first."""
    if _fitting_share(lines, usual) >= _MIN_SHARE:
        return usual
    shares = {delimiter: _fitting_share(lines, delimiter) for delimiter in DELIMITERS}
    best = max(shares, key=lambda delimiter: shares[delimiter])
    return best if shares[best] >= _MIN_SHARE else usual


def _fitting_share(lines: Sequence[Numbered], delimiter: str) -> float:
    """Share of the rows with as many cells as the header; 0 if that has only one."""
    best = 0.0
    for is_quoted in (True, False):
        rows = list(read_cells(iter(lines), Dialect(delimiter, is_quoted)))
        width = len(rows[0][1]) if rows else 0
        if width > 1:
            best = max(best, sum(len(cells) == width for _, cells, _ in rows) / len(rows))
    return best


def _broken_lines(lines: Sequence[Numbered], dialect: Dialect) -> int:
    """Lines of rows that do not have as many cells as the header, or have broken quotes."""
    rows = list(read_cells(iter(lines), dialect))
    width = len(rows[0][1]) if rows else 0
    ends = [*(line for line, _, _ in rows[1:]), lines[-1][0] + 1 if lines else 0]
    # Of a row whose quote is never closed only the first line is broken.
    return sum(
        1 if reason.startswith("a quote opens") else end - line
        for (line, cells, reason), end in zip(rows, ends, strict=True)
        if reason or len(cells) != width
    )


def _quoted_lines(lines: Sequence[Numbered]) -> int:
    """Lines with quotes that can only be around cells: there is a delimiter or a doubled quote between them."""
    return sum(
        any(re.search('[,;\t|]|""', found[1]) for found in _ENCLOSED.finditer(line)) for _, line in lines if '"' in line
    )
