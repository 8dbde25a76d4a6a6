"""Columns that seem to annotate a text, and that would be ignored where the text alone is learned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from burnish.data.rows.mapping import WRITTEN, tagged_example
from burnish.data.rows.nested import nested_advice
from burnish.data.rows.row import Row, quoted
from burnish.data.rows.single_messages import ROLE_COLUMNS, are_roles, how_to_join
from burnish.data.rows.typed import mapping
from burnish.errors import DataError

_ANNOTATION = re.compile(
    r"labels?|gold|class|classes|score|rating|stars?|grade|polarity|sentiment|emotions?|intents?|topics?|category|"
    r"categories|tags?|ner|pos|bio|entity|entities|ents|spans?|annotations?|aspects?|slots?|toxicity|toxic|stance",
)
_SEPARATORS = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")
_SAID = {"text", "value", "word", "span", "mention", "entity", "name"}
"""Keys of an entity that say what its characters are."""
_SHOWN_CHARACTERS = 60
_SAMPLE = 1_000
_IMAGE = re.compile(r"\S.*\.(?:png|jpe?g|gif|webp|bmp|tiff?)", re.IGNORECASE | re.DOTALL)
_ASKING = ("prompt", "instruction", "question", "query")
"""Columns beside a text that it may answer."""


def refuse_ignored(rows: Sequence[Row], columns: Iterable[str]) -> None:
    """Asks what to do with a column that seems to be an annotation, before the text is learned without it.

    Args:
        rows: all of them.
        columns: those that would be ignored, as the file names them.

    Raises:
        DataError: one of them has values and such a name.
    """
    for column in columns:
        if not seems_to_annotate(column):
            continue
        value = next((row.values[column] for row in rows if _is_filled(row.values.get(column))), None)
        if value is None:
            continue
        shown = str(value)[:_SHOWN_CHARACTERS]
        sample = [row.values for row in rows[:_SAMPLE] if _is_filled(row.values.get(column))]
        raise DataError(
            f"`{column}` seems to annotate the text, but these rows would be read as plain text, without it",
            f"The first value is `{shown}`.",
            f"To learn it: {tagged_example(sample, column) or _how_to_learn(column, value, sample[0])}. To learn the "
            "text alone: `--set data.shape=text`",
        )


def seems_to_annotate(column: str) -> bool:
    """Whether the name of a column is that of an annotation."""
    parts = [part.lower() for part in _SEPARATORS.split(column)]
    return any(map(_ANNOTATION.fullmatch, parts)) and "language" not in parts  # `language_score` is of how it was found


def refuse_unwritten(rows: Sequence[Mapping[str, Any]], text: str, columns: Iterable[str]) -> None:
    """Asks what to do with a column beside a text that seems to be what is to be written, or who says the text.

    Args:
        rows: values by column.
        text: the column with the text.
        columns: those that would be ignored.

    Raises:
        DataError: one of them seems to be that.
    """
    for column in columns:
        cells = [cell for values in rows if isinstance(cell := values.get(column), str) and cell.strip()]
        if 2 * len(cells) <= len(rows):
            continue
        if all(map(_IMAGE.fullmatch, cells)):
            raise DataError(
                f"`{column}` names an image for each `{text}`, but these rows would be read as plain text, without it",
                f"The first is `{cells[0][:_SHOWN_CHARACTERS]}`.",
                f"To learn from the images, write rows with `image` (`{column}`), `question` (such as `What does it "
                f"show?`) and `answer` (`{text}`). To learn the text alone: `--set data.shape=text`",
            )
        if column.lower() in _ASKING and 2 * len(set(cells)) > len(cells) and not _are_written_out(rows, text, column):
            raise DataError(
                f"`{column}` seems to be what each `{text}` answers, but these rows would be read as plain text, "
                "without it",
                f"The first is `{cells[0][:_SHOWN_CHARACTERS]}`.",
                f"To learn to answer it: {mapping(prompt=column, completion=text)}. To learn the text alone: `--set "
                "data.shape=text`",
            )
        if column.lower() in WRITTEN and 2 * len(set(cells)) > len(cells):
            raise DataError(
                f"`{column}` seems to be what is to be written for each `{text}`, but these rows would be read as "
                "plain text, without it",
                f"The first is `{cells[0][:_SHOWN_CHARACTERS]}`.",
                f"To learn to write it: {mapping(prompt=text, completion=column)}. To learn the text alone: `--set "
                "data.shape=text`",
            )
        if column.lower() in ROLE_COLUMNS and are_roles(column, rows):
            how = how_to_join(column, text, rows[:_SAMPLE], "IN.jsonl")
            raise DataError(
                f"each row seems to be one message of a conversation: `{column}` says whose",
                "Read one by one, answers would be learned without their questions.",
                f"Write each conversation as one row: {how}. To learn the texts alone: `--set data.shape=text`",
            )


def _are_written_out(rows: Sequence[Mapping[str, Any]], text: str, column: str) -> bool:
    """Whether most texts have the cell of a column within them, so that nothing is lost without it."""
    pairs = [(str(values.get(column)), str(values.get(text))) for values in rows if values.get(column)]
    return 2 * sum(asked.strip() in whole for asked, whole in pairs) > len(pairs)


def _is_filled(value: Any) -> bool:
    return value is not None and value == value and value not in ("", [], {})


def _how_to_learn(column: str, value: Any, first: Mapping[str, Any]) -> str:
    if advised := nested_advice(first):
        return f"{advised[1][0].lower()}{advised[1][1:]}"
    one = value[0] if isinstance(value, list) and value else None
    if isinstance(one, dict) and "label" in one and _SAID.isdisjoint(one):
        return f"write the label in each entry of `{column}` in a column `label`"
    if isinstance(value, (list, dict)) and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
        spans = quoted(["[[START, END, LABEL]]"])
        return f"write the spans of `{column}` as {spans}, in characters of the text, in a column `entities`"
    return mapping(label=column)
