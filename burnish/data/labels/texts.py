"""Decides, over all rows with a text and no known label, what they mean: columns of labels, or plain text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.data.labels.cells import (
    flag_columns,
    flags_of,
)
from burnish.data.labels.columns import label_columns
from burnish.data.labels.missing import (
    spelled,
)
from burnish.data.labels.numbers import are_amounts, number_of
from burnish.data.rows.ignored import refuse_unwritten, seems_to_annotate
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.patterns import TEXT
from burnish.data.rows.records import LabelledRecord
from burnish.data.rows.row import pick, quoted
from burnish.data.rows.settled import Asked, Settled
from burnish.data.rows.typed import mapping
from burnish.data.rows.written_talks import speakers_in, written_talk
from burnish.data.tags.inline import marked_texts
from burnish.errors import DataError
from burnish.recipe.schema import AUTO

Values = Mapping[str, Any]

_METADATA = {
    "id", "idx", "index", "url", "source", "src", "lang", "language", "license", "date", "time", "timestamp", "year",
    "split", "subset", "set", "meta", "metadata", "domain", "author", "user", "file", "filename", "path", "dataset",
    "version", "length", "len", "tokens", "num_tokens", "token_count", "dump", "country", "ends", "uuid", "hash",
    "title", "name", "line", "page", "chapter", "book", "section", "part", "position", "order", "number", "num", "n",
    "count",
}  # fmt: skip
"""Columns beside a text that say where it is from, not what is to be learned of it."""
_FEWEST_ROWS, _MOST_VALUES, _LONGEST_VALUE = 20, 20, 40
MANY_VALUES, SHOWN = 1_000, 3
"""Values of a column that is named like a label, at most; and such columns that are named beside another."""


def settle_text(pattern: Pattern, rows: Sequence[Values], asked: Asked) -> Settled:
    """The settled meaning of rows with a text and no known label: label columns of 0 and 1, or plain text.

    Raises:
        DataError: a column looks like an annotation, and nothing says that it is to be ignored.
    """
    used = pattern.reads({key for values in rows[:1] for key in values})
    others = [str(key) for key in dict.fromkeys(key for values in rows for key in values) if key not in used]
    may_be_labels = (
        asked.shape == AUTO
        and (not asked.records or LabelledRecord in asked.records)
        and set(asked.columns) <= {"text"}
    )
    flags = flag_columns(others, rows) if may_be_labels else []
    if len(flags) > 1 and asked.annotation.columns == AUTO:
        if asked.is_free:  # `polarity` beside `is_retweet` and `has_url` is what is to be learned
            _ask_about_annotations([name for name in others if name not in flags and seems_to_annotate(name)], rows)
        return label_columns(flags, rows)
    if asked.is_free:
        refuse_unwritten(rows, next(iter(used - {"ends"}), "text"), others)
    if asked.is_free and len(rows) >= _FEWEST_ROWS:
        _ask_about_annotations([name for name in others if name.lower() not in _METADATA], rows)
    return marked_texts(rows, asked) or Settled(pattern, notes=_written_out(rows))


def _written_out(rows: Sequence[Values]) -> tuple[str, ...]:
    """That texts are conversations with the marks of some template."""
    sample = [str(pick(values, TEXT)[1]) for values in rows[:_FEWEST_ROWS]]
    if 2 * sum({"user", "assistant"} <= speakers_in(text) for text in sample) <= len(sample):
        return ()
    command = written_talk(pick(rows[0], TEXT)[0], sample, rows[0])
    return (
        "The texts seem to be conversations that are written out, and all of each is learned. To learn the answers "
        f"alone, in the form of the model's own template, write them as `messages`{f': {command}' if command else '.'}",
    )


def _ask_about_annotations(names: Sequence[str], rows: Sequence[Values]) -> None:
    """Raises DataError where a column beside a text looks like a label, or the only one like a score."""
    for name in names:
        if values := annotation_values(rows, name):
            others = [other for other in names if other != name and seems_to_annotate(other)]
            others = [other for other in others if annotation_values(rows, other, MANY_VALUES)][:SHOWN]
            instead = "".join(f" To learn `{other}` instead: {mapping(label=other)}." for other in others)
            raise DataError(
                f"`{name}` looks like a label, but Burnish does not know a column of that name",
                f"It has {len(values)} values that recur: {quoted(values, 5)}.",
                f"To learn it: {mapping(label=name)}.{instead} To learn the text alone: `--set data.shape=text`",
            )
    cells = {name: [spelled(values.get(name)) for values in rows] for name in names}
    scores = [
        name for name, texts in cells.items() if are_amounts(texts, False) and (len(names) == 1 or _are_shares(texts))
    ]
    if scores and (len(names) == 1 or len(scores) > 1):
        is_one = len(scores) == 1
        raise DataError(
            f"{quoted(scores, 5)} look{'s like a score' if is_one else ' like scores'}, but Burnish does not know a "
            "column of that name",
            f"There is a number for every text, for example {cells[scores[0]][0]}.",
            f"To predict {'it' if is_one else 'one'}: {mapping(score=scores[0])}. To learn the text alone: "
            "`--set data.shape=text`",
        )


def _are_shares(texts: Sequence[str]) -> bool:
    numbers = [number_of(text) for text in texts]
    return all(number is not None and 0 <= number <= 1 for number in numbers)


def annotation_values(rows: Sequence[Values], name: str, most: int = _MOST_VALUES) -> list[str]:
    """The few recurring values of a column that may be labels, at most so many; empty if it is something else."""
    found = Counter(value for values in rows for value in _values_in(values.get(name)))
    found.pop("", None)
    is_few = 2 <= len(found) <= min(most, found.total() // 5)
    return sorted(found) if is_few and all(len(value) <= _LONGEST_VALUE for value in found) else []


def _values_in(cell: Any) -> list[str]:
    """What a cell, a list of values or an object of flags holds, as text."""
    if isinstance(cell, dict):
        return list(flags_of(cell) or {})
    return [spelled(value) for value in cell] if isinstance(cell, (list, tuple)) else [spelled(cell)]
