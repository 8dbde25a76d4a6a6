"""Texts with the text that answers them, under other names than `prompt` and `completion`: `source` and `target`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.labels.missing import VERDICTS
from burnish.data.rows.typed import mapping

SOURCE = (
    "source", "src", "source_text", "input", "input_text", "query", "user", "human", "question", "instruction",
    "problem", "article", "document", "dialogue", "text",
)  # fmt: skip
RESULT = (
    "target", "tgt", "target_text", "output", "output_text", "response", "completion", "reply", "assistant", "bot",
    "gpt", "summary", "highlights", "translation", "solution", "answer",
)  # fmt: skip
_LABELLED = ("text", "target")
"""A text and its class, not two texts."""
_WHO = ("user", "human")
_OBJECTS = ("input", "output")
"""Of these, one or both may be objects, which are JSON then."""
_MOST_CLASSES = 20
_MIN_ROWS_PER_CLASS = 5


def names_of_pair(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """The columns of the text and its answer; None if a row does not have both as text."""
    source, result = (next((name for name in names if name in values), None) for names in (SOURCE, RESULT))
    if source in _WHO and "text" in values:
        source = "text"  # of a table of posts these are the names of those who wrote them
    if source is None or result is None or (source, result) == _LABELLED or values[result] in VERDICTS:
        return None
    cells = (values[source], values[result])
    if (source, result) == _OBJECTS and all(isinstance(cell, (str, dict)) and "messages" not in cell for cell in cells):
        return source, result
    return (source, result) if all(isinstance(cell, str) for cell in cells) else None


def is_text_pair(values: Mapping[str, Any]) -> bool:
    """Whether a row has a text and its answer."""
    return names_of_pair(values) is not None


def pair_notes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which column is read as what, and how to read few different answers as classes instead."""
    names = next(filter(None, map(names_of_pair, rows)), None)
    if names is None:
        return []
    source, result = names
    notes = [f"`{source}` is read as the prompt and `{result}` as the completion."]
    classes = {values.get(result) for values in rows if isinstance(values.get(result), str)}
    if 1 < len(classes) <= _MOST_CLASSES and _MIN_ROWS_PER_CLASS * len(classes) <= len(rows):
        notes.append(
            f"`{result}` has only {len(classes)} different values; to learn them as labels: "
            f"{mapping(text=source, label=result)}."
        )
    return notes
