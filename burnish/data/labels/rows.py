"""Reads rows of a text, or a pair of texts, with labels; and checks that the labels can be learned."""

from __future__ import annotations

import contextlib
import decimal
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.labels.cells import choices_of, flags_of
from burnish.data.labels.numbers import number_of
from burnish.data.rows.ignored import seems_to_annotate
from burnish.data.rows.known_kinds import IDS
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.records import LabelledRecord, ScoredRecord
from burnish.data.rows.row import ColumnMap, Field, RowError, as_text, pick, quoted
from burnish.data.rows.typed import mapping
from burnish.errors import DataError, InputError, RecipeError
from burnish.visible import parse_json

_MIN_ROWS_FOR_IDS = 10
"""With fewer rows, a column of distinct values may still be labels."""


def labelled_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> LabelledRecord:
    """A record of one or two texts with a label, or with a list of labels, which may be empty.

    Raises:
        RowError: a text is empty, or the label is missing or invalid.
    """
    texts = tuple(_text(*pick(values, field)) for field in pattern.required[:-1])
    name, value = pick(values, pattern.required[-1])
    if isinstance(value, (list, tuple)):
        return LabelledRecord(texts, _label_set(value, name), True, place)
    return LabelledRecord(texts, (label_name(value, name),), False, place)


def scored_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> ScoredRecord:
    """A record of one or two texts with a number.

    Raises:
        RowError: a text is empty, or the number is missing or none.
    """
    texts = tuple(_text(*pick(values, field)) for field in pattern.required[:-1])
    name, value = pick(values, pattern.required[-1])
    text = as_text(value, name)
    if text is None or not text.strip():
        raise RowError(f"`{name}` is empty: the row has no score")
    number = number_of(text)
    if number is None:
        raise RowError(f"`{name}` is `{_short(text)}`, which is not a number")
    return ScoredRecord(texts, number, place)


def label_name(value: Any, column: str) -> str:
    """A label as text without surrounding spaces; numbers are written as in JSON, so that 1, 1.0 and "1" are the same.

    Raises:
        RowError: it is missing, or not a single value.
    """
    if isinstance(value, (dict, list)):
        found = "an object" if isinstance(value, dict) else "a list"
        raise RowError(f"`{column}` has {found} instead of a label")
    if isinstance(value, (float, decimal.Decimal)) and math.isfinite(value) and value == int(value):
        value = int(value)
    elif isinstance(value, (float, decimal.Decimal)) and not math.isfinite(value):
        value = None
    text = as_text(value, column)
    if text is None or not text.strip():
        raise RowError(f"`{column}` is empty: the row has no label")
    return text.strip()


def are_labels(rows: Sequence[Mapping[str, Any]], field: Field) -> bool:
    """Whether a column seems to have labels.

    It does not if no row has a value, or if each of ten or more rows has a different one: such a column is an id, or
    another text.
    """
    names = []
    for values in rows:
        name, value = pick(values, field)
        if isinstance(value, list) or choices_of(value) or (isinstance(value, dict) and flags_of(value) is not None):
            return True
        with contextlib.suppress(RowError):
            names.append(label_name(value, name))
    return bool(names) and (len(names) < _MIN_ROWS_FOR_IDS or len(set(names)) < len(names))


def in_order(labels: set[str]) -> list[str]:
    """Sorts labels by number if all are numbers, else by name."""
    try:
        return sorted(labels, key=lambda label: (_number(label), label))
    except ValueError:
        return sorted(labels)


def _number(label: str) -> float:
    """Raises ValueError if the label is not a finite number."""
    number = float(label)
    if not math.isfinite(number):
        raise ValueError(label)
    return number


def _label_set(values: Sequence[Any], column: str) -> tuple[str, ...]:
    names = [label_name(value, column) for value in values]
    if len(set(names)) < len(names) and set(names) <= {"0", "1"}:
        raise RowError(f"`{column}` has a 0 or 1 per label, but a list has to contain the names of the row's labels")
    return tuple(in_order(set(names)))


def _text(name: str, value: Any) -> str:
    text = as_text(value, name)
    if text is None or not text.strip():
        raise RowError(f"`{name}` is empty")
    return text


_SHARED, _WORDS = 1 / 3, 6
"""Share of rows with a label of another row, at least, and words of a label on average, at most, of a large number of
labels."""
_NO_LABELS = "If the column does not have labels, read the rows as plain text: `--set data.shape=text`"
_NAMED = 3
"""Columns that are named instead of one without labels."""


class FreeTextLabels(DataError):
    """A column that seems to hold free text instead of labels."""

    def beside(self, columns: Sequence[str]) -> FreeTextLabels:
        """The error, with the columns that may have the labels instead.

        Args:
            columns: those that are not used.
        """
        others = sorted((name for name in columns if not IDS.fullmatch(name)), key=seems_to_annotate, reverse=True)
        typed = " or ".join(mapping(label=name) for name in others[:_NAMED])
        instead = f"If another column has the labels: {typed}" if typed else "No other column is left for labels"
        return FreeTextLabels(self.what, self.why, f"{instead}. {self.fix}")


def has_label_lists(records: Sequence[LabelledRecord]) -> bool:
    """Whether the rows have lists of labels rather than one label each.

    Raises:
        DataError: some rows have lists and others single labels.
    """
    first = records[0]
    other = next((record for record in records if record.is_multi != first.is_multi), None)
    if other is None:
        return first.is_multi
    listed, single = (first, other) if first.is_multi else (other, first)
    raise DataError(
        f"{listed.place} has a list of labels, but {single.place} has a single label",
        "Either all rows or none can have several labels.",
        "Write every label as a list, or set `classify.multi_label=true`, which takes a single label as a list of one",
    )


def find_labels(records: Sequence[LabelledRecord], is_multi: bool) -> list[str]:
    """The labels of the rows, in numeric or alphabetical order.

    Raises:
        DataError: all labels are the same, so there is nothing to learn; or they look like free text.
    """
    counts = Counter(label for record in records for label in record.labels)
    mentions = counts.total()
    if len({record.labels for record in records}) < 2:
        named = ", ".join(f"`{label}`" for label in records[0].labels) or "no label"
        raise DataError(
            f"every training row has the same label: {named}" if mentions else "no training row has a label",
            "With a single label there is nothing to learn.",
            f"Add rows with other labels. {_NO_LABELS}",
        )
    if len(counts) > 2 and 2 * len(counts) > mentions and _is_free_text(counts):
        examples = ", ".join(f"`{_short(label)}`" for label in list(counts)[:3])
        raise FreeTextLabels(
            f"the labels look like free text: {len(counts):,} different ones in {len(records):,} training rows",
            f"The first are {examples}. A label can only be learned from several rows that have it.",
            _NO_LABELS,
        )
    return in_order(set(counts))


def _is_free_text(counts: Counter[str]) -> bool:
    """Whether such a number of different labels are texts: few recur, or they have many words.

    A sample of a task with a hundred classes has many labels that occur once, but most of its rows share theirs.
    """
    shared = sum(count for count in counts.values() if count > 1)
    words = sum(len(label.split()) * count for label, count in counts.items())
    return shared < _SHARED * counts.total() or words > _WORDS * counts.total()


def describe_labels(records: Sequence[LabelledRecord], labels: Sequence[str]) -> str:
    """Describes the labels and how imbalanced they are."""
    counts = Counter(label for record in records for label in record.labels)
    most = max(labels, key=lambda label: counts[label])
    least = min(labels, key=lambda label: counts[label])
    shares = (100 * counts[label] / len(records) for label in (most, least))
    phrase = " and ".join(f"`{label}` in {share:.1f} %" for label, share in zip((most, least), shares, strict=True))
    return f"those of {len(records):,} training rows; most and least frequent: {phrase}"


def _short(label: str) -> str:
    return label if len(label) <= 40 else f"{label[:39]}…"


def check_labels(labels: Sequence[str], is_multi: bool, records: Sequence[LabelledRecord]) -> None:
    """Labels that were given must be of use. Raises RecipeError or DataError where they are not."""
    if len(set(labels)) < len(labels) or len(labels) < (1 if is_multi else 2):
        raise RecipeError(
            "`data.labels` has too few labels, or one of them twice",
            f"It is {list(labels)}.",
            "Name every label once, or leave it at `auto`",
        )
    found = {label for record in records for label in record.labels}
    if found and found.isdisjoint(labels):
        raise DataError(
            "the rows have none of the labels of this model",
            f"They have {quoted(in_order(found))}; the model knows {quoted(labels)}.",
            "Use rows with those labels, or spell them the same way",
        )


def read_texts(prompt: str, pattern: Pattern, columns: ColumnMap) -> tuple[str, ...]:
    """A user's text, or a row as a JSON object, as the texts of a row.

    Args:
        prompt: what is asked.
        pattern: the shape of the rows that were trained on.
        columns: how their columns were named.

    Raises:
        InputError: rows have two texts, and they are missing.
    """
    fields = pattern.required[:-1]
    values = columns.rename(_json_object(prompt))
    found = [pick(values, field) for field in fields]
    try:
        texts = tuple(text for text in (as_text(value, name) for name, value in found) if text and text.strip())
    except RowError as error:
        raise InputError("the row cannot be read", f"{error}.") from error
    if len(texts) == len(fields):
        return texts
    if len(fields) == 1:
        return (prompt,)
    first, second = (name for name, _ in found)
    raise InputError(
        "this run labels pairs of texts, but there are not two texts",
        "A pair is written as a JSON object with a column for each text.",
        f'For example: \'{{"{first}": "...", "{second}": "..."}}\'',
    )


def texts_of(values: Mapping[str, Any], pattern: Pattern) -> tuple[str, ...]:
    """The texts of a row, whatever label it has.

    Args:
        values: by field.
        pattern: the shape of the rows that were trained on.

    Raises:
        RowError: a text is missing.
    """
    found = [pick(values, field) for field in pattern.required[:-1]]
    missing = [name for name, _ in found if name not in values]
    if missing:
        raise RowError(f"there is no column `{missing[0]}`")
    return tuple(_text(name, value) for name, value in found)


def _json_object(prompt: str) -> dict[str, Any]:
    """The object that a prompt spells; empty where it is plain text."""
    if not prompt.lstrip().startswith("{"):
        return {}
    try:
        values = parse_json(prompt)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}
