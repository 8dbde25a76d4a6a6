"""JSON values that are rows without names of columns: lists of cells, bare texts, and lists of what is said in turn.

["what is the weather", "weather"]          a row of cells
"what is the weather"                       a text
["Hi.", "Hello.", "How are you?"]           a conversation, where the lists differ in length
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.files.json_layouts import row_of
from burnish.data.rows.patterns import DIALOGUES
from burnish.data.rows.row import is_known_name

SAMPLE = 1_000
"""Items that show what a list holds."""
TEXT, TURNS = "text", "conversations"
_MOST = 0.9
"""Share of lists that must be of one length, or else of texts alone."""
_CELLS = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Unnamed:
    """How values that are no objects are read as rows."""

    names: tuple[str, ...]
    """Of the cells: by a first row that has them, or by their places."""
    has_header: bool = False
    """Whether the first value has the names."""
    is_whole: bool = False
    """Whether a value is the only cell, and not a list of cells."""

    def row(self, value: Any) -> dict[str, Any] | str:
        """The row that a value is, or why it is none."""
        if self.is_whole:
            is_fit = isinstance(value, str) if self.names == (TEXT,) else _is_talk(value)
            return {self.names[0]: value} if is_fit else f"expected {self._expected}, unlike `{str(value)[:40]}`"
        if not isinstance(value, list):
            return f"expected {self._expected}, unlike `{str(value)[:40]}`"
        if len(value) != len(self.names):
            named = "the header has" if self.has_header else "the other rows have"
            return f"{len(value)} cells, but {named} {len(self.names)}"
        return dict(zip(self.names, value, strict=True))

    @property
    def _expected(self) -> str:
        if not self.is_whole:
            return f"a list of {len(self.names)} cells"
        return "a text" if self.names == (TEXT,) else "a list of several texts"

    @property
    def remark(self) -> str:
        """How the values are read, as a phrase after the name of their file."""
        if self.has_header:
            return "has rows without names, which are taken from the first of them"
        if self.is_whole:
            return f"has {'bare texts' if self.names == (TEXT,) else 'bare lists of texts'}, read as `{self.names[0]}`"
        return f"has rows without names of columns, and {len(self.names)} cells in each"


def unnamed(sample: Sequence[Any], key: str = "") -> Unnamed | None:
    """How the items of a list are read that are no objects; None where most are objects, or something else.

    Args:
        sample: the first items, at most `SAMPLE`.
        key: of the list, if it has one.
    """
    others = [value for value in sample if row_of(value) is None]
    if 2 * len(others) <= len(sample):
        return None
    if 2 * sum(isinstance(value, str) for value in others) > len(sample):
        return Unnamed((TEXT,), is_whole=True)
    lists = [value for value in others if _are_cells(value)]
    if 2 * len(lists) <= len(sample):
        return None
    ((width, count),) = Counter(map(len, lists)).most_common(1)
    is_talk = sum(map(_is_talk, lists)) >= _MOST * len(lists)
    if is_talk and (count < _MOST * len(lists) or key.lower() in DIALOGUES):
        return Unnamed((TURNS,), is_whole=True)
    if count < _MOST * len(lists):
        return None
    rows = [value for value in lists if len(value) == width]
    if sample[0] is rows[0] and is_header(rows):
        return Unnamed(tuple(map(str.strip, rows[0])), has_header=True)
    return Unnamed(tuple(f"column {number}" for number in range(1, width + 1)))


def _are_cells(value: Any) -> bool:
    """Whether a value is a list of plain values, or of lists of these."""
    return isinstance(value, list) and bool(value) and all(map(_is_cell, value))


def _is_cell(cell: Any) -> bool:
    return isinstance(cell, _CELLS) or (isinstance(cell, list) and all(isinstance(item, _CELLS) for item in cell))


def _is_talk(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(isinstance(text, str) for text in value)


def is_header(rows: Sequence[Sequence[Any]]) -> bool:
    """Whether the first of some rows has names of columns: different texts, of which one is a known name or is
    above numbers alone, and none comes again in its column.

    Args:
        rows: with as many cells each.
    """
    first, *others = rows
    names = [cell.strip() for cell in first if isinstance(cell, str) and cell.strip()]
    if len(set(names)) < len(first) or any(row[place] == first[place] for row in others for place in range(len(first))):
        return False
    columns = [[row[place] for row in others] for place in range(len(first))]
    has_numbers = any(all(isinstance(cell, (int, float)) for cell in column) for column in columns)
    return bool(others) and (has_numbers or any(map(is_known_name, names)))


def is_list_of_cells(value: Any) -> bool:
    """Whether a value is a list of rows without names of columns."""
    found = unnamed(value[:SAMPLE]) if isinstance(value, list) and value else None
    return found is not None and found.names != (TEXT,)
