"""Tables of text and numbers: drawn on a terminal, aligned columns when piped."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import rich.table


_FEW = 3
"""Columns that fit beside each other on any terminal, if their cells fold."""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns and rows of text. With `is_numeric`, every column but the first is aligned to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    is_numeric: bool = False

    def drawn(self, width: int) -> rich.table.Table:
        """The table for a terminal of `width` columns; where it does not fit, each row is a few lines of text."""
        from rich import box
        from rich.table import Table as RichTable
        from rich.text import Text

        if self._width() > width and len(self.columns) > _FEW:
            return self._stacked()
        table = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for position, column in enumerate(self.columns):
            align = "right" if position > 0 and self.is_numeric else "left"
            table.add_column(Text(column), justify=align, overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        return table

    def _stacked(self) -> rich.table.Table:
        """The first cell of each row, and below it the others with the names of their columns."""
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable.grid()
        table.add_column(overflow="fold")
        for first, *rest in self.rows:
            named = [f"{name} {cell}".strip() for name, cell in zip(self.columns[1:], rest, strict=True) if cell]
            table.add_row(Text(first, "bold"))
            table.add_row(Text(f"  {', '.join(named)}" if named else ""))
        return table

    def _widths(self) -> list[int]:
        return [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]

    def _width(self) -> int:
        """Columns that it takes where no cell folds."""
        return sum(self._widths()) + 2 * len(self.columns)

    def plain(self) -> str:
        """The table as plain lines, which are as wide as their cells."""
        widths = self._widths()
        return "\n".join(self._line(row, widths) for row in (self.columns, *self.rows))

    def _line(self, row: Sequence[str], widths: Sequence[int]) -> str:
        first, *rest = zip(row, widths, strict=True)
        align = ">" if self.is_numeric else "<"
        return "  ".join([f"{first[0]:<{first[1]}}", *(f"{cell:{align}{width}}" for cell, width in rest)]).rstrip()


@dataclass(frozen=True, slots=True)
class Facts:
    """Names with their values, one a line: `model   seedling`."""

    pairs: Sequence[tuple[str, str]]
    longest: int = 0
    """Lines of a value at most, on a terminal of the width available; a longer one is cut. 0: as many as it takes."""

    def drawn(self, width: int) -> rich.table.Table:
        """The facts for a terminal of `width` columns. A long value goes on below itself, not below its name."""
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable.grid(padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        room = max(20, width - self._indent())
        for name, value in self.pairs:
            table.add_row(Text(name), Text("\n".join(wrapped(value, room, self.longest) if self.longest else [value])))
        return table

    def plain(self, width: int = 120) -> str:
        """The facts as plain lines; a value is cut only where `longest` says so, as if lines were `width` wide."""
        indent = self._indent()
        lines = []
        for name, value in self.pairs:
            first, *rest = cut(value, width - indent, self.longest) or [""]
            lines += [f"{name:<{indent}}{first}".rstrip(), *(" " * indent + line for line in rest)]
        return "\n".join(lines)

    def _indent(self) -> int:
        return max((len(name) for name, _ in self.pairs), default=0) + 2


def wrapped(text: str, width: int, longest: int) -> list[str]:
    """At most `longest` lines of `width` columns, broken between words and, where a word is longer, inside it."""
    parts = [line for line in text.split("\n") if line.strip()]
    lines = [line for part in parts for line in textwrap.wrap(part, width, break_on_hyphens=False)]
    if len(lines) <= longest:
        return lines
    return [*lines[: longest - 1], f"{lines[longest - 1][: width - 4].rstrip()} ..."]


def cut(text: str, width: int, longest: int) -> list[str]:
    """The lines of a text, unwrapped; where more than `longest` lines of `width` would be shown, its beginning.

    Args:
        text: of any length; empty lines are left out where it is cut.
        width: columns.
        longest: lines at most; 0 for no limit.
    """
    lines = text.split("\n")
    if not longest:
        return lines
    lines = [line for line in lines if line.strip()]
    kept: list[str] = []
    room = longest
    for line in lines:
        needed = max(1, -(-len(line) // width))
        if needed > room:
            cut_line = line[: room * width - 4].rstrip() if room else ""
            return [*kept, f"{cut_line} ..."] if room else [*kept[:-1], f"{kept[-1][: width - 4]} ..."]
        kept.append(line)
        room -= needed
    return kept


def megabytes(count: int) -> str:
    """Bytes as `7.2 MB` or `1,234 MB`, of a million bytes each."""
    millions = count / 1e6
    return f"{millions:,.1f} MB" if millions < 100 else f"{millions:,.0f} MB"
