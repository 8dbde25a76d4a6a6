"""A list beside a conversation with a mark for each message: whether it is learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.chat.messages import LEARNED, WEIGHTS, as_messages, by_role, find_role, role_name
from burnish.data.labels.numbers import number_of
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.printed import as_list
from burnish.data.rows.row import RowError, pick, quoted, words_of
from burnish.data.rows.settled import Asked
from burnish.errors import DataError
from burnish.recipe.schema import AUTO

Values = Mapping[str, Any]

KNOWN = ("loss_mask", "loss_masks", "loss_weights", "train_mask", "train_masks", "weights", *WEIGHTS)
"""Columns whose lists have 1 for what is learned."""
_MARKS = {
    "mask", "masks", "masked", "ignore", "ignored", "skip", "exclude", "learn", "learned", "train", "trained", "loss",
    "supervised", "weight", "weights",
}  # fmt: skip
"""Words in the name of a column whose lists may say so, but not which of their values does."""


@dataclass(frozen=True, slots=True)
class MarkReading:
    """Writes the marks of a row into its messages."""

    column: str
    turns: tuple[str, ...]
    """Columns that may hold the conversation."""
    roles: Mapping[str, str]

    @property
    def columns(self) -> tuple[str, ...]:
        """The one with the marks."""
        return (self.column,)

    def prepare(self, values: Values) -> Values:
        """The row with a `weight` in each answer. Raises RowError where the marks are not one for each message."""
        name, cell = pick(values, self.turns)
        marks, said = as_list(values.get(self.column)), as_messages(as_list(cell), self.roles)
        if marks is None or not isinstance(said, list):
            return values
        messages = [one for turn in said for one in by_role(turn)]
        if not isinstance(marks, list) or len(marks) != len(messages):
            number = len(marks) if isinstance(marks, list) else "no"
            raise RowError(f"`{self.column}` has {number} marks for {len(messages)} messages")
        pairs = zip(messages, marks, strict=True)
        marked = [_with_mark(message, mark) if isinstance(message, dict) else message for message, mark in pairs]
        return {**values, name: marked}

    def describe(self, rows: Sequence[Values]) -> str:
        """What the marks say, as a sentence."""
        learned = unlearned = others = 0
        for values in rows:
            said = as_messages(as_list(pick(values, self.turns)[1]), self.roles)
            marks = as_list(values.get(self.column))
            if not isinstance(said, list) or not isinstance(marks, list):
                continue
            for message, mark in zip([one for turn in said for one in by_role(turn)], marks, strict=False):
                is_one = _is_learned(mark)
                role = find_role(str(role_name(message)), self.roles) if isinstance(message, dict) else None
                if role in ("assistant", "function_call"):
                    learned, unlearned = learned + is_one, unlearned + (not is_one)
                else:
                    others += is_one
        said = f"`{self.column}` says which answers are learned: {learned:,} are, and {unlearned:,} are not."
        more = f" It also marks {others:,} other messages; only answers are learned." if others and unlearned else ""
        return said + more


def mark_readings(
    rows: Sequence[Values], columns: Sequence[str], pattern: Pattern, asked: Asked
) -> tuple[MarkReading, ...]:
    """How lists of marks beside conversations are taken.

    Args:
        rows: values by column.
        columns: those that are not used.
        pattern: of the conversations.
        asked: what the user has set.

    Raises:
        DataError: a column has such lists, and its name does not say which value means that a message is learned.
    """
    found = []
    for column in columns:
        if _MARKS.isdisjoint(words_of(column)):
            continue
        lists = [marks for values in rows if isinstance(marks := as_list(values.get(column)), list) and marks]
        marks = {str(mark).strip().lower() for one in lists for mark in one}
        if lists and column.lower() in KNOWN and all(map(_is_number, marks)):
            found.append(MarkReading(column, pattern.required[0], asked.roles))
        elif lists and asked.shape == AUTO and marks <= LEARNED.keys():
            raise DataError(
                f"`{column}` seems to say which messages are learned, but not which of its values does",
                f"Its values are {quoted(sorted(marks))}. Learning every answer might teach wrong ones.",
                f"Rename it to `{KNOWN[0]}`, with 1 for each message that is learned. To learn every answer: "
                f"`--set data.shape={pattern.name}`",
            )
    return tuple(found)


def _with_mark(message: Mapping[str, Any], mark: Any) -> Mapping[str, Any]:
    """A message with its mark, unless its own says that it is not learned."""
    return {**message, "weight": message.get("weight", mark) if _is_learned(mark) else mark}


def _is_learned(mark: Any) -> bool:
    return LEARNED.get(str(mark).strip().lower(), False)


def _is_number(text: str) -> bool:
    return text in LEARNED or number_of(text) is not None
