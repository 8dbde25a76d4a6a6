"""Columns with the answers to choose from: a list, an object with a letter for each, or a column for each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from burnish.data.labels.cells import as_flag
from burnish.data.rows.printed import as_object
from burnish.data.rows.row import words_of

_LISTED = {"choices", "options", "candidates", "endings", "distractors", "alternatives"}
"""Last words in the names of columns that hold several of them."""
_NAMED = re.compile(
    r"(?:option|choice|opt?|sol|ending|distractor|alternative|(?:wrong|incorrect|false)[ _-]?answer)"
    r"[ _-]?(?:[a-h]|[0-9])",
    re.IGNORECASE,
)
_LETTERED = re.compile(r"(?:answer[ _-]?)?(?:[a-e]|[0-4])", re.IGNORECASE)
_FEWEST_NAMED, _FEWEST_LETTERED = 2, 3
"""So many columns that are called `option1`, `option2` and so on, or `A`, `B`, `C`, are answers to choose from."""
_KEY = re.compile(r"\W*(?:(?:option|choice|answer)[ _-]?)?(?:[a-h]|[0-9])\W*", re.IGNORECASE)
_MARKED = re.compile(r"(?:^|[\s,;|])\(?([a-e1-5])\s?[).:]", re.IGNORECASE)
"""A choice in a text that lists them: `A) red B) blue`, `a ) 38 , b ) 27`."""
_SAMPLE = 20


def choice_columns(columns: Iterable[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns that hold answers to choose from; empty if none does.

    Args:
        columns: those that may.
        rows: values by column, at least one.
    """
    columns, sample = [str(name) for name in columns], rows[:_SAMPLE]
    listed = [name for name in columns if any(_holds_choices(name, values.get(name)) for values in sample)]
    if listed:
        return listed
    kinds = ((_NAMED, _FEWEST_NAMED, _is_answer), (_LETTERED, _FEWEST_LETTERED, _is_no_flag))
    for pattern, fewest, fits in kinds:
        found = [name for name in columns if pattern.fullmatch(name) and any(fits(one.get(name)) for one in sample)]
        if len(found) >= fewest:
            return found
    return []


def _holds_choices(name: str, cell: Any) -> bool:
    cell = as_object(cell)
    if isinstance(cell, Mapping) and "choices" in cell and len(cell) > 1:
        return _are_several(cell["choices"])  # a question with its choices, or these with which of them are right
    if words_of(name.rstrip("0123456789_ "))[-1] not in _LISTED:
        return False
    if isinstance(cell, str):
        return len({mark.lower() for mark in _MARKED.findall(cell)} & set("ab12")) > 1
    if isinstance(cell, Mapping):
        are_lettered = len(cell) > 1 and all(_KEY.fullmatch(str(key)) for key in cell)
        return are_lettered or _are_several(cell.get("text"))
    return _are_several(cell)


def _are_several(cell: Any) -> bool:
    return isinstance(cell, (list, tuple)) and len(cell) > 1


def _is_answer(cell: Any) -> bool:
    return isinstance(cell, (str, int, float)) and bool(str(cell).strip())


def _is_no_flag(cell: Any) -> bool:
    """Whether a cell may be an answer, and no mark for yes or no."""
    return _is_answer(cell) and as_flag(cell) is None


def are_letters(cells: Iterable[Any]) -> bool:
    """Whether most answers only say which choice is right: `B`, `(c)`, `2` or `option1`."""
    texts = [str(cell).strip() for cell in cells if cell is not None]
    return bool(texts) and 2 * sum(bool(_KEY.fullmatch(text)) for text in texts) > len(texts)
