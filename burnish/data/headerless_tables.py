"""Tables without a header row: two columns, a text and its label, as many benchmark files come."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from burnish.data.columns import FIELDS, OTHER_NAMES
from burnish.data.lines import text_lines

ROWS_LOOKED_AT = 10_000
_TEXT, _LABEL = "text", "label"
_ROWS_A_LABEL = 5
"""So many rows share a label on average, at least."""


def has_plain_quotes(path: Path, delimiter: str) -> bool:
    """Whether quotes in a tab-separated file are characters like others: some line's quotes do not pair up.

    Such lines are `"great movie<TAB>1` and `"great" movie<TAB>1`. A file that quotes its cells has none, unless a cell
    spans lines; then its header row names the columns, and this is not asked.
    """
    for _, line in text_lines(path):
        if '"' in line:
            try:
                list(csv.reader([line], delimiter=delimiter, strict=True))
            except csv.Error:
                return True
    return False


def could_lack_header(cells: Sequence[str]) -> bool:
    """Whether the first row of a table may be a row like the others: two cells, and neither is a name we know."""
    return len(cells) == 2 and not any(cell.strip().lower() in (*FIELDS, *OTHER_NAMES) for cell in cells)


def names_of_headerless(rows: Sequence[Sequence[str]]) -> list[str] | None:
    """The names of the columns of a table whose first row is no header, or None where it may be one.

    It is none where that is plain from the data: nearly all rows have two cells, the first row's label stands again and
    again among the few different ones below, and its text is a text like those below.

    Args:
        rows: cells of the first rows, the very first among them.
    """
    pairs = [tuple(cells) for cells in rows if len(cells) == 2]
    if 100 * len(pairs) < 99 * len(rows) or pairs[:1] != [tuple(cells) for cells in rows[:1]]:
        return None
    fitting = [label for label in (0, 1) if _is_labelled(pairs, label)]
    if len(fitting) != 1:
        return None
    return [_TEXT, _LABEL] if fitting[0] == 1 else [_LABEL, _TEXT]


def describe_headerless(path: Path, names: Sequence[str]) -> str:
    """What was taken for granted, in a sentence."""
    first, second = names
    return f"`{path.name}` has no header row; its two columns are read as `{first}` and `{second}`."


def first_rows(numbered: Any) -> list[list[str]]:
    """Cells of the first whole rows of (line, cells, reason)."""
    return [cells for _, cells, reason in islice(numbered, ROWS_LOOKED_AT) if not reason]


def _is_labelled(pairs: Sequence[Sequence[str]], label: int) -> bool:
    """Whether one column holds labels and the other texts, from the first row on."""
    labels, texts = ([pair[column].strip() for pair in pairs] for column in (label, 1 - label))
    counts = Counter(labels)
    is_shared = counts[labels[0]] > 2 and _ROWS_A_LABEL * len(counts) <= len(labels)
    is_text = 2 * len(set(texts)) > len(texts) and 2 * sum(" " in text for text in texts) > len(texts)
    return is_shared and is_text and " " in texts[0]
