"""Texts with the text that answers them, under other names than `prompt` and `completion`: `source` and `target`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.rows.row import Row
from burnish.system.shell import quoted

SOURCE = (
    "source", "src", "source_text", "input", "input_text", "query", "user", "human", "question", "instruction",
    "article", "document", "dialogue", "text",
)  # fmt: skip
RESULT = (
    "target", "tgt", "target_text", "output", "output_text", "response", "completion", "reply", "assistant", "bot",
    "gpt", "summary", "highlights", "translation", "answer",
)  # fmt: skip
_LABELLED = ("text", "target")
"""A text and its class, not two texts."""
_MOST_CLASSES = 20
_MIN_ROWS_PER_CLASS = 5


def names_of_pair(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """The columns of the text and its answer; None if a row does not have both as text."""
    source, result = (next((name for name in names if name in values), None) for names in (SOURCE, RESULT))
    if source is None or result is None or (source, result) == _LABELLED:
        return None
    return (source, result) if isinstance(values[source], str) and isinstance(values[result], str) else None


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
            f"{_mapping(text=source, label=result)}."
        )
    return notes


_FLAGS = ("0", "1", "0.0", "1.0", "true", "false")
MAP_EXAMPLE = "`--set data.columns.prompt=COLUMN --set data.columns.completion=COLUMN`"


def map_example(row: Row) -> str:
    """The options that map the first two columns with text, in the names that a row has for them."""
    texts = [str(name) for name, value in row.values.items() if isinstance(value, str) and " " in value.strip()]
    if len(texts) == 1 and sum(str(value).lower() in _FLAGS for value in row.values.values()) > 1:
        return _mapping(text=texts[0])  # labels in columns of their own
    texts += [str(name) for name, value in row.values.items() if isinstance(value, str) and name not in texts]
    if len(texts) < 2:
        return MAP_EXAMPLE
    return _mapping(prompt=texts[0], completion=texts[1])


_NUMBERED = re.compile(r"(answer|completion|output|response|reply|chat|model)s?[_ -]?(?:[ab]|[0-2])", re.IGNORECASE)


def two_answers(columns: Sequence[str]) -> tuple[str, str] | None:
    """Two columns with answers to one prompt, such as `response_a` and `response_b`; None if there are not two."""
    found = [(column, match[1].lower()) for column in columns if (match := _NUMBERED.fullmatch(column))]
    same = [column for column, stem in found if found and stem == found[0][1]]
    return (same[0], same[1]) if len(same) == 2 else None


def _mapping(**columns: str) -> str:
    """The options that give columns to fields, as they are to be typed."""
    return "`" + " ".join(f"--set {quoted(f'data.columns.{field}={name}')}" for field, name in columns.items()) + "`"
