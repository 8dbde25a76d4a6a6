"""Several labels in one cell: how they are separated, decided from all cells of a column, and how a cell is split."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.rows.row import RowError
from burnish.visible import parse_json

LIST, NONE = "list", "none"
MARKS = {
    "sep": "[SEP]",
    "newline": "\n",
    "tab": "\t",
    "bar": "|",
    "semicolon": ";",
    "hash": "#",
    "comma": ",",
    "tilde": "~",
    "dot": "·",
    "underscores": "__",
    "slash": "/",
    "plus": "+",
    "ampersand": "&",
    "colon": ":",
    "and": " and ",
    "space": " ",
}
"""Separators by the names that `annotation.separator` has for them, the least ambiguous first."""
_WIDE = str.maketrans({"，": ",", "、": ",", "；": ";", "｜": "|", "～": "~", "•": "·"})
"""Marks that other scripts write for one of these."""
_STRICT = ("space", "slash", "plus", "ampersand", "colon", "and")
"""Separators that also occur inside names (`very good`, `TCP/IP`): each part must be a label by itself, too."""
_ENUMERATING = ("slash", "plus", "ampersand")
"""Of these, separators that join labels as often as they are inside names: many combinations of few parts show it."""
_FEWEST_PARTS, _COMBINATIONS = 3, 2
"""Parts, and combinations for each of them, from which on they are combined freely."""
_NOTICED = ("sep", "newline", "tab", "bar", "semicolon", "hash", "comma", "tilde", "dot", "underscores")
_RECURRING = 0.9
"""Share of the parts, counted as often as they occur, that must recur elsewhere."""
_NOTICEABLE = 0.1
"""Share of the cells with a separator from which on it is worth a sentence that they are not split."""
_QUOTED = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""")
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_ANGLED = re.compile(r"(?:<[^<>]+>)+")
"""Labels that are each in brackets of their own, as Stack Overflow has them: `<python><pandas>`."""


@dataclass(frozen=True, slots=True)
class CellReading:
    """Splits the cells of a label column into lists of labels."""

    column: str
    separator: str
    """`list`, or a name in `MARKS`."""

    @property
    def columns(self) -> tuple[str, ...]:
        """None besides the pattern's own."""
        return ()

    def prepare(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row with a list in place of its cell. An empty cell stays as it is: it has no gold label."""
        cell = values.get(self.column)
        if (choices := choices_of(cell)) is not None:
            return {**values, self.column: choices}
        if isinstance(cell, dict) and (flags := flags_of(cell)) is not None:
            return {**values, self.column: [name for name, flag in flags.items() if flag]}
        if not isinstance(cell, str) or not cell.strip():
            return {**values, self.column: [cell]} if isinstance(cell, (int, float)) and cell == cell else values
        return {**values, self.column: split_cell(cell, self.separator)}


@dataclass(frozen=True, slots=True)
class ColumnReading:
    """Collects the labels of a row from columns of 0 and 1, one for each label."""

    labels: tuple[str, ...]
    target: str
    """The column that receives the list of labels."""
    are_marked: bool = False
    """Whether an empty cell is a 0, because the columns have nothing but marks such as `x`."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of the labels."""
        return self.labels

    def prepare(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row with its labels as a list. Raises RowError where a cell is neither 0 nor 1."""
        found = []
        for name in self.labels:
            flag = as_flag(values.get(name))
            if flag is None and self.are_marked and is_blank(values.get(name)):
                flag = False
            if flag is None:
                raise RowError(f"`{name}` is {values.get(name)!r}, not 0 or 1: the row has no gold label")
            if flag:
                found.append(name)
        return {**{key: value for key, value in values.items() if key not in self.labels}, self.target: found}


_CHOICES = re.compile(r"\s*\{\s*\"choices\"")


def choices_of(cell: Any) -> list[str] | None:
    """The labels of `{"choices": [...]}`, as Label Studio writes several, also as JSON text; None for others."""
    if isinstance(cell, str) and _CHOICES.match(cell):
        try:
            cell = parse_json(cell)
        except (ValueError, RecursionError):
            return None
    found = cell.get("choices") if isinstance(cell, dict) and len(cell) == 1 else None
    return [str(choice) for choice in found] if isinstance(found, list) else None


def flags_of(cell: Mapping[str, Any]) -> dict[str, bool] | None:
    """The labels of an object such as `{"billing": 1, "damage": 0}`; None if it is something else."""
    flags = {str(name): as_flag(value) for name, value in cell.items()}
    known = {name: flag for name, flag in flags.items() if flag is not None}
    return known if known and len(known) == len(flags) else None


_TRUE = ("1", "1.0", "true", "t", "yes", "y", "x", "✓", "✔", "ja", "oui", "sí", "si", "sim", "да", "是", "はい")
_FALSE = ("0", "0.0", "false", "f", "no", "n", "nein", "non", "não", "nao", "нет", "否", "いいえ")


def as_flag(value: Any) -> bool | None:
    """True or false for 1 and 0, yes and no, or a mark such as `x`; None for anything else."""
    if isinstance(value, str):
        text = value.strip().lower()
        return True if text in _TRUE else False if text in _FALSE else None
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return bool(value)
    return None


def is_blank(value: Any) -> bool:
    """Whether a cell is empty."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def flag_columns(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns with 0 or 1 in every row; where there are not several, those with nothing but marks such as `x`."""
    full = [name for name in names if all(as_flag(values.get(name)) is not None for values in rows)]
    return full if len(full) > 1 else [name for name in names if are_marked((name,), rows)]


def are_marked(names: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether columns have marks in some rows, and nothing in the others."""
    cells = [values.get(name) for values in rows for name in names]
    filled = [cell for cell in cells if not is_blank(cell)]
    return 0 < len(filled) < len(cells) and all(as_flag(cell) is True for cell in filled)


def split_cell(cell: str, separator: str) -> list[str]:
    """The labels in a cell, without surrounding spaces and without empty ones."""
    if separator == LIST:
        found = list_in_text(cell)
        return [cell.strip()] if found is None else found
    parts = cell.translate(_WIDE).split(MARKS[separator])
    return [part for part in (part.strip() for part in parts) if part]


def list_in_text(cell: str) -> list[str] | None:
    """The items of a list that a program wrote as text; None where the cell is none.

    JSON, Python's lists, tuples and sets, numpy's lists without commas, words in brackets, and each in its own.
    """
    text = cell.strip()
    if _ANGLED.fullmatch(text):
        return [part.strip() for part in text[1:-1].split("><")]
    if len(text) < 2 or _BRACKETS.get(text[0]) != text[-1]:
        return None
    try:
        items = parse_json(text)
        if isinstance(items, list) and not any(isinstance(item, (list, dict)) for item in items):
            return [str(item).strip() for item in items if item is not None]
    except (ValueError, RecursionError):
        pass
    inner = text[1:-1].strip()
    quoted = [one or other for one, other in _QUOTED.findall(inner)]
    if quoted and not _QUOTED.sub("", inner).strip(", \n\t"):
        return [item.strip() for item in quoted]
    if any(mark in inner for mark in "'\"[](){}:"):
        return None
    return [part for part in re.split(r"\s*,\s*" if "," in inner else r"\s+", inner) if part]


def find_separator(cells: Sequence[str]) -> str:
    """How the labels in the cells of a column are separated: a name in `MARKS`, `list`, or `none`.

    Args:
        cells: all that have a label.
    """
    lists = [found for cell in cells if (found := list_in_text(cell)) is not None]
    if 2 * len(lists) > len(cells) and any(len(found) != 1 for found in lists):
        return LIST
    if lists and any(_QUOTED.search(cell) for cell in cells if list_in_text(cell) is not None):
        return LIST
    return next((name for name in MARKS if _separates(name, cells)), NONE)


def unsplit_separator(cells: Sequence[str]) -> str:
    """The separator that many cells contain without being split by it; empty if there is none."""
    for name in _NOTICED:
        if sum(MARKS[name] in cell.translate(_WIDE).strip() for cell in cells) > _NOTICEABLE * len(cells):
            return name
    return ""


def unsplit_space(column: str, cells: Sequence[str]) -> str:
    """`space` if a column is named like one of several labels and most words of its cells are in different cells, but
    too few are alone to show that each is a label; else empty.

    Args:
        column: its name in the file.
        cells: all that have a label.
    """
    cells_of: dict[str, set[str]] = defaultdict(set)
    for cell in cells:
        for part in cell.split():
            cells_of[part].add(" ".join(sorted(cell.split())))
    mentions = Counter(part for cell in cells for part in cell.split())
    shared = sum(count for part, count in mentions.items() if len(cells_of[part]) > 1)
    is_plural = column.lower().endswith("s") and not column.lower().endswith("ss")
    has_spaces = any(len(cell.split()) > 1 for cell in cells)
    return "space" if is_plural and has_spaces and 2 * shared > mentions.total() else ""


def _separates(name: str, cells: Sequence[str]) -> bool:
    """Whether the parts of the cells are labels of their own, because they recur alone or in other combinations.

    `New York, NY` is one label: `New York` never occurs elsewhere. Parts that have fixed places, such as
    `Portland, OR` beside `Portland, ME` and `Salem, OR`, are one label, too.
    """
    cells = [cell.translate(_WIDE) for cell in cells]
    splits = Counter(tuple(split_cell(cell, name)) for cell in cells if MARKS[name] in cell.strip())
    splits = Counter({parts: count for parts, count in splits.items() if len(parts) > 1})
    if not splits:
        return False
    alone = {cell.strip() for cell in cells if MARKS[name] not in cell.strip()}
    partners: dict[str, set[frozenset[str]]] = defaultdict(set)
    places: dict[str, set[int]] = defaultdict(set)
    for parts in splits:
        for place, part in enumerate(parts):
            partners[part].add(frozenset(parts))
            places[part].add(place)
    is_number = all(part.replace(" ", "").isdecimal() for part in partners)
    is_decimal = is_number and name == "comma" and all(len(parts) == 2 for parts in splits)
    free = [part for part, found in places.items() if len(found) > 1]
    is_combined = len(partners) >= _FEWEST_PARTS and len(splits) >= _COMBINATIONS * len(partners)
    is_combined = is_combined and 2 * len(free) > len(partners) and not is_number
    is_strict = (name in _STRICT and not (name in _ENUMERATING and is_combined)) or is_decimal
    recurring = {part for part in partners if part in alone or (not is_strict and len(partners[part]) > 1)}
    mentions = Counter(part for parts, count in splits.items() for part in parts for _ in range(count))
    if sum(mentions[part] for part in recurring) < _RECURRING * mentions.total():
        return False
    has_free_places = bool(free) or len({len(parts) for parts in splits}) > 1
    return has_free_places or not alone.isdisjoint(partners)
