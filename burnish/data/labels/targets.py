"""What a label is about beside its text: the target of a stance, or an aspect whose sentiment a text shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.labels.missing import spelled
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.row import pick
from burnish.data.rows.typed import mapping
from burnish.errors import DataError

_TARGETS = ("target", "aspect", "aspect_term", "aspect_category", "term", "entity", "claim", "topic", "subject")
"""Columns that may say what a label is about, the most likely first."""
_SAMPLE = 10_000
_DIFFERING = 0.05
"""Share of rows whose text occurs with another label too, from which on the label is not of the text alone."""


def ask_about_targets(pattern: Pattern, label: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Raises DataError where a column that is not used says what the label of each text is about.

    Without it the same text would have to have different labels, and a stance would be one towards nothing.

    Args:
        pattern: of the rows; those with a pair of texts are left as they are.
        label: the column with the labels.
        rows: values by column.
    """
    if len(pattern.required) != 2:
        return
    sample = rows[:_SAMPLE]
    text = pick(rows[0], pattern.required[0])[0]
    names = {str(name).lower(): str(name) for name in rows[0] if name not in (text, label)}
    target = next((names[name] for name in _TARGETS if name in names and _are_names(names[name], sample)), None)
    if target is None or not (label == "stance" or _differ(text, label, sample, target)):
        return
    pair = mapping(sentence1=target, sentence2=text, label=label)
    raise DataError(
        f"`{label}` seems to be about the `{target}` of each row, which would not be used",
        f"The first row has {spelled(rows[0].get(label))} about {spelled(rows[0].get(target))}. From the text alone it "
        "cannot be learned.",
        f"To learn `{label}` from both: {pair}. From the text alone: {mapping(text=text, label=label)}",
    )


def _are_names(column: str, sample: Sequence[Mapping[str, Any]]) -> bool:
    cells = [values.get(column) for values in sample]
    return all(isinstance(cell, str) and cell.strip() for cell in cells) and len(set(cells)) > 1


def _differ(text: str, label: str, sample: Sequence[Mapping[str, Any]], target: str) -> bool:
    """Whether texts have several labels, each of them with another target."""
    labels: dict[str, set[str]] = {}
    targets: dict[str, set[str]] = {}
    for values in sample:
        labels.setdefault(str(values.get(text)), set()).add(spelled(values.get(label)))
        targets.setdefault(str(values.get(text)), set()).add(spelled(values.get(target)))
    several = sum(len(found) > 1 and len(targets[one]) >= len(found) for one, found in labels.items())
    return several > _DIFFERING * len(labels)
