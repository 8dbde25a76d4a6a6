"""What two columns without names hold, guessed from their cells: texts with labels, or prompts with completions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from burnish.data.files.tables import HEAD_ROWS, find_labels
from burnish.data.labels.missing import spelled
from burnish.data.rows.records import ChatRecord, LabelledRecord, Record
from burnish.data.rows.row import Row
from burnish.data.rows.typed import mapping

UNNAMED = (("column 1", "column 2"), ("0", "1"))
"""The names that readers give to two columns without names, and those that pandas writes."""


def columns_of_unnamed(rows: Sequence[Row], wanted: Sequence[type[Record]]) -> tuple[dict[str, str], str]:
    """Field -> column of rows with two columns without names, and a sentence about it; empty where it is not clear, or
    where columns have names.

    Args:
        rows: of the training split.
        wanted: kinds of record that the user's task learns from; empty for any.
    """
    names = tuple(rows[0].values)
    if names not in UNNAMED or any(tuple(row.values) != names for row in rows):
        return {}, ""
    pairs = [tuple(row.values.values()) for row in islice(rows, HEAD_ROWS)]
    first, second = names
    may_be_labels, may_be_answers = (not wanted or record in wanted for record in (LabelledRecord, ChatRecord))
    if may_be_labels and (place := _labels(pairs)) is not None:
        columns = {"text": names[1 - place], "label": names[place]}
        others = {"prompt": first, "completion": second}
        read = f"`{columns['text']}` is read as the text and `{columns['label']}` as its label"
        return columns, f"{_NO_NAMES}: {read}. To learn to write the second from the first: {mapping(**others)}."
    if may_be_answers and all(_are_answers([pair[place] for pair in pairs]) for place in (0, 1)):
        columns, others = {"prompt": first, "completion": second}, {"text": first, "label": second}
        read = f"`{first}` is read as the prompt and `{second}` as the completion"
        return columns, f"{_NO_NAMES}: {read}. If the second is a label: {mapping(**others)}."
    return {}, ""


_NO_NAMES = "The columns have no names"


def _labels(pairs: Sequence[tuple[Any, ...]]) -> int | None:
    """Which of two columns holds labels; None if none does."""
    place = find_labels([(spelled(first), spelled(second)) for first, second in pairs])
    has_texts = place is not None and all(isinstance(pair[1 - place], str) for pair in pairs)
    return place if has_texts else None


def _are_answers(cells: Sequence[Any]) -> bool:
    """Whether cells are texts, of which most differ."""
    return all(isinstance(cell, str) for cell in cells) and 2 * len(set(cells)) > len(cells)
