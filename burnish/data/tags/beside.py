"""Places in a text beside its answer: entities that would be ignored, and where an answer to a question begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from burnish.data.rows.row import pick
from burnish.data.rows.typed import mapping
from burnish.data.tags.annotations import are_spans
from burnish.errors import DataError

Rows = Sequence[Mapping[str, Any]]

_SAMPLE = 100
_FEWEST = 3
"""Rows whose answer is where a number says, at least, so that this is no chance."""


def ask_about_places(rows: Rows, columns: Iterable[str], asked: str, answer: str, shape: str) -> None:
    """Raises DataError where a column that is not used has entities of the prompts, or the beginnings of the answers.

    Args:
        rows: values by column.
        columns: those that are not used.
        asked: the column of the prompts.
        answer: the column of the answers.
        shape: name of the shape, for the command that learns to write the answers.
    """
    sample = rows[:_SAMPLE]
    alone = f"To learn to write `{answer}`: `--set data.shape={shape}`"
    for column in columns:
        cells = [cell for values in sample if (cell := values.get(column)) not in (None, "", [])]
        if cells and all(map(are_spans, cells)):
            raise DataError(
                f"`{column}` seems to have entities with their places in `{asked}`, and `{answer}` another text",
                "From the first, a model learns to tag words; from the other, to write a text.",
                f"To learn the entities: {mapping(text=asked, entities=column)}. {alone}",
            )
        texts, found = _found_at(sample, column, answer)
        if found >= max(_FEWEST, len(sample) // 2):
            raise DataError(
                f"`{column}` seems to say where `{answer}` begins in `{texts}`",
                "From that, a model learns to find the answer in the text; without it, to write it.",
                f"To learn to find it: {mapping(context=texts, question=asked, answer=answer, answer_start=column)}. "
                f"{alone}",
            )


def _found_at(sample: Rows, column: str, answer: str) -> tuple[str, int]:
    """The column of the texts in which most answers begin where a number says, and of how many rows."""
    contexts = pick(sample[0], ("context", "passage", "paragraph"))[0]
    found = 0
    for values in sample:
        text, said, place = values.get(contexts), values.get(answer), values.get(column)
        if not isinstance(text, str) or not isinstance(said, str) or not said.strip() or isinstance(place, bool):
            continue
        start = int(place) if isinstance(place, str) and place.isdecimal() else place
        found += isinstance(start, int) and text.startswith(said, start)
    return contexts, found
