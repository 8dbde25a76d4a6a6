"""Values that mean "no gold label": which they are in a column, and the reading that leaves such rows out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.labels.numbers import number_of
from burnish.data.rows.row import RowError

VERDICTS = ("accept", "reject", "ignore")
"""What Prodigy has under `answer`: whether an annotation was accepted."""
_WORDS = (
    "nan", "<na>", "#n/a", "n/a", "n.a.", "null", "(null)", "<null>", "nil", "undefined", "unlabeled", "unlabelled",
    "not labeled", "not labelled", "no label", "no_label", "no gold label", "unannotated", "not annotated", "missing",
    "(missing)", "(blank)", "tbd",
)  # fmt: skip
"""Written for a missing cell; no class is called that."""
_SYMBOLS = ("-", "--", "---", "–", "—", "?", "_", ".", "...", "…")
_INFINITE = ("inf", "+inf", "-inf", "infinity", "-infinity")
"""No number that can be learned."""
_UNSURE = (
    "none", "unknown", "unk", "skip", "skipped", "no consensus", "no_consensus", "no agreement", "no majority",
    "no_majority", "disagreement", "unclear", "unsure", "undecided", "keine angabe", "k.a.", "keine", "sin etiqueta",
    "inconnu", "desconocido", "未知", "不明",
)  # fmt: skip
"""Classes of their own in some data sets, and no label in others."""
_CODES = (-1.0, -9.0, -99.0, -100.0, -999.0, -9999.0)
"""Numbers that data sets write for a missing label."""
_DOUBTFUL_CODES = (9.0, 99.0, 255.0, 999.0, 9999.0)
_MIN_CLASSES = 3
"""So many classes from 0 make -1 the mark of a missing label; of two it may be the third, as in -1, 0 and 1."""


@dataclass(frozen=True, slots=True)
class GoldReading:
    """Leaves out the rows whose cell means that there is no gold label."""

    column: str
    missing: tuple[str, ...]
    """As `spelled` writes them."""

    @property
    def columns(self) -> tuple[str, ...]:
        """None besides the pattern's own."""
        return ()

    def prepare(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same row. Raises RowError where it has no gold label."""
        cell = values.get(self.column)
        cell = cell[0] if isinstance(cell, list) and len(cell) == 1 else cell
        if spelled(cell) in self.missing:
            raise RowError(f"`{self.column}` is `{spelled(cell)}`: the row has no gold label")
        return values


@dataclass(frozen=True, slots=True)
class AcceptedReading:
    """Leaves out the rows whose label an annotator did not accept, as Prodigy says in a column."""

    column: str = "answer"

    @property
    def columns(self) -> tuple[str, ...]:
        """The one that says so."""
        return (self.column,)

    def prepare(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same row. Raises RowError where the label was rejected or ignored."""
        if values.get(self.column) != VERDICTS[0]:
            raise RowError(f"its label was not accepted (`{self.column}` is `{values.get(self.column)}`)")
        return values


def has_verdicts(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether Prodigy says of each row whether its label was accepted."""
    return all(values.get("answer") in VERDICTS for values in rows)


def spelled(value: Any) -> str:
    """A cell as text, a whole number without a fraction; empty for null, NaN and blank cells, lists and objects."""
    if value is None or value != value or isinstance(value, (list, tuple, dict)):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value).strip()
    number = number_of(text) if not isinstance(value, str) or text.endswith(".0") else None
    return str(int(number)) if number is not None and number == int(number) else text


def find_missing(labels: Sequence[str]) -> list[str]:
    """The labels of a column that mean "no gold label".

    Args:
        labels: the distinct ones, as `spelled` writes them.
    """
    candidates = [label for label in labels if _kind_of_mark(label)]  # of 10,000 labels, a few at most
    marks = [label for label in candidates if _is_mark(label, [other for other in labels if other != label])]
    return marks if len(marks) < len(labels) else []


def other_missing(labels: Sequence[str]) -> list[str]:
    """Values that are not in a column but would mean "no gold label" beside its labels: held-out rows may have them."""
    candidates = [*_WORDS, *_SYMBOLS[:1], "-1"]
    return [mark for mark in candidates if mark not in labels and _is_mark(mark, labels)]


def is_doubtful(label: str, labels: Sequence[str]) -> bool:
    """Whether a label that is taken as a class could as well mean that there is none."""
    code = number_of(label)
    if code not in (*_DOUBTFUL_CODES, -1.0) and label.lower() not in _UNSURE:
        return False
    others = {number_of(other) for other in labels if other != label}
    if code in _DOUBTFUL_CODES and len(others) > 1 and None not in others:
        classes = sorted(number for number in others if number is not None)
        counts_up = classes[0] in (0, 1) and classes[-1] - classes[0] == len(classes) - 1
        return counts_up and code > classes[-1] + 1
    return label.lower() in _UNSURE or (code == -1 and others == {0.0, 1.0})


def _kind_of_mark(label: str) -> str:
    """How a label may say that there is none: word, symbol, infinite, code, na or none; empty if it cannot."""
    low = label.lower()
    kinds = {"word": low in _WORDS, "symbol": label in _SYMBOLS, "infinite": low in _INFINITE}
    kinds |= {"na": low == "na", "none": low == "none", "code": number_of(label) in _CODES}
    return next((kind for kind, is_one in kinds.items() if is_one), "")


def _is_mark(label: str, others: Sequence[str]) -> bool:
    """Whether a label means that there is none, beside all others of its column."""
    kind, others = _kind_of_mark(label), [other for other in others if other.lower() not in _WORDS]
    if not kind or not others:
        return False
    if kind == "word":
        return True
    if kind == "symbol":
        return any(character.isalnum() for other in others for character in other if other not in _SYMBOLS)
    if kind == "na":
        return not all(len(other) <= 3 and other.isupper() for other in others)
    numbers = [number_of(other) for other in others]
    if kind == "infinite":
        finite = [other for other in others if other.lower() not in _INFINITE]
        return bool(finite) and all(number_of(other) is not None for other in finite)
    if kind == "none":
        has_numbers = all(number is not None for number in numbers)
        return has_numbers or (label == "None" and not any(other[:1].isupper() for other in others))
    return _is_code(float(label), [one for one in numbers if one is not None], others)


def _is_code(code: float, numbers: Sequence[float], others: Sequence[str]) -> bool:
    if not numbers:
        return len(others) > 1  # a number among names
    rest = [number for number in numbers if number not in _CODES]
    if len(rest) < len([other for other in others if number_of(other) not in _CODES]) or not rest or min(rest) < 0:
        return False
    return len(rest) >= (_MIN_CLASSES if code == -1 else 2) or any(number != int(number) for number in rest)
