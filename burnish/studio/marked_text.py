"""A text with its entities marked, as one types it: `[Anna](PER) lives in [Rome](LOC)`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_MARK = re.compile(r"\[([^\[\]]+)\]\(([^()\[\]]+)\)")
_BEGINNING = re.compile(r"^[BILUES]-")


def entity_labels(labels: Iterable[str]) -> list[str]:
    """The labels of entities, without the letter for the place of a token in one; in the order given."""
    return list(dict.fromkeys(_BEGINNING.sub("", label) for label in labels if label != "O"))


def marked(text: str, entities: Iterable[Mapping[str, Any]]) -> str:
    """The text with its entities marked; of two that overlap, the first.

    Args:
        text: without marks.
        entities: maps with `start`, `end` (in characters) and `entity_group`.
    """
    pieces, place = list[str](), 0
    for one in sorted(entities, key=lambda one: one["start"]):
        if one["start"] >= place:
            pieces += [text[place : one["start"]], f"[{text[one['start'] : one['end']]}]({one['entity_group']})"]
            place = one["end"]
    return "".join([*pieces, text[place:]])


def read_marks(text: str, labels: Sequence[str]) -> dict[str, Any]:
    """A row of the marked text: `text` without the marks, and `entities` as maps of `start`, `end` and `label`.

    Args:
        text: with marks. What only looks like one, with a label that is not among the labels, is text.
        labels: that there are.
    """
    pieces, entities, place, size = list[str](), list[dict[str, Any]](), 0, 0
    for found in _MARK.finditer(text):
        if found[2] not in labels:
            continue
        before = text[place : found.start()]
        start = size + len(before)
        size = start + len(found[1])
        pieces += [before, found[1]]
        entities.append({"start": start, "end": size, "label": found[2]})
        place = found.end()
    return {"text": "".join([*pieces, text[place:]]), "entities": entities}
