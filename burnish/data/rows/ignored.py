"""Columns that seem to annotate a text, and that would be ignored where the text alone is learned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from burnish.data.rows.row import Row, quoted
from burnish.errors import DataError

_ANNOTATION = re.compile(
    r"labels?|gold|class|classes|score|rating|stars?|grade|polarity|sentiment|emotions?|intents?|topics?|category|"
    r"categories|tags?|ner|pos|bio|entity|entities|ents|spans?|annotations?|aspects?|slots?|toxicity|toxic|stance",
)
_SEPARATORS = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")
_SHOWN_CHARACTERS = 60


def refuse_ignored(rows: Sequence[Row], columns: Iterable[str]) -> None:
    """Asks what to do with a column that seems to be an annotation, before the text is learned without it.

    Args:
        rows: all of them.
        columns: those that would be ignored, as the file names them.

    Raises:
        DataError: one of them has values and such a name.
    """
    for column in columns:
        if not any(_ANNOTATION.fullmatch(part) for part in map(str.lower, _SEPARATORS.split(column))):
            continue
        value = next((row.values[column] for row in rows if _is_filled(row.values.get(column))), None)
        if value is None:
            continue
        shown = str(value)[:_SHOWN_CHARACTERS]
        raise DataError(
            f"`{column}` seems to annotate the text, but these rows would be read as plain text, without it",
            f"The first value is `{shown}`.",
            f"To learn it: {_how_to_learn(column, value)}. To learn the text alone: `--set data.shape=text`",
        )


def _is_filled(value: Any) -> bool:
    return value is not None and value == value and value not in ("", [], {})


def _how_to_learn(column: str, value: Any) -> str:
    if isinstance(value, (list, dict)) and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
        spans = quoted(["[[START, END, LABEL]]"])
        return f"write the spans of `{column}` as {spans}, in characters of the text, in a column `entities`"
    return f"`--set data.columns.label={column}`"
