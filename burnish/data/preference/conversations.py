"""What conversations, and questions with answers, mean over all rows, and what only the user can decide of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.chat.accepted import content_notes, json_notes, settle_answers, settle_questions
from burnish.data.chat.marks import mark_readings
from burnish.data.chat.messages import THOUGHT, WEIGHTS
from burnish.data.chat.prompts import notes_on_prompts
from burnish.data.chat.questions import (
    ask_about_answers,
    ask_about_choices,
    ask_about_earlier,
    ask_about_marks,
    ask_about_thoughts,
    ask_about_tools,
)
from burnish.data.labels.missing import spelled
from burnish.data.preference.ratings import ask_about_rated_messages, ask_about_rating, texts_of
from burnish.data.preference.worse import ask_about_two, ask_about_worse
from burnish.data.rows.elsewhere import ask_about_palm
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.row import RowError, pick
from burnish.data.rows.settled import Asked, Reading, Settled
from burnish.data.tags.beside import ask_about_places
from burnish.recipe.schema import AUTO

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LearnedReading:
    """Leaves out the rows that are not to be learned, by a column such as `weight` or `train`."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The one that says so."""
        return (self.column,)

    def prepare(self, values: Values) -> Values:
        """The same row. Raises RowError where it is not to be learned."""
        if spelled(values.get(self.column)).lower() in _NOT_LEARNED:
            raise RowError(f"`{self.column}` is {spelled(values[self.column])}: the row is not to be learned")
        return values

    def describe(self, rows: Sequence[Values]) -> str:
        """How many rows are left out, as a sentence; empty if none is."""
        number = sum(spelled(values.get(self.column)).lower() in _NOT_LEARNED for values in rows)
        return (
            f"`{self.column}` says which rows are learned: {number:,} of {len(rows):,} are not, and are left out. To "
            "learn all alike, rename the column."
            if number
            else ""
        )


_SWITCHES = {
    "on",
    "off",
    "true",
    "false",
    "yes",
    "no",
    "none",
    "low",
    "medium",
    "high",
    "minimal",
    "enabled",
    "disabled",
}
"""Values that say whether or how much was thought, and are no thoughts."""


@dataclass(frozen=True, slots=True)
class SwitchReading:
    """Takes away a column that is named like a thought and is none."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """None besides the pattern's own."""
        return ()

    def prepare(self, values: Values) -> Values:
        """The row without it."""
        return {name: cell for name, cell in values.items() if name != self.column}


def _is_switch(name: str, rows: Sequence[Values]) -> bool:
    found = {text.lower() for text in texts_of(rows, name)}
    return bool(found) and found <= _SWITCHES


_NOT_LEARNED, _IS_LEARNED = {"0", "false"}, {"1", "true"}


def settle_conversation(pattern: Pattern, rows: Sequence[Values], asked: Asked) -> Settled:
    """Conversations and questions with answers, all of them learned, but for rows whose own weight is 0.

    Raises:
        DataError: a column that is not used seems to rate the answers, or a key inside messages to say which of them
            are learned, and nothing says that it is to be ignored.
    """
    used = pattern.reads({key for values in rows[:1] for key in values})
    others = [name for name in rows[0] if name not in used]
    weights = tuple(LearnedReading(name) for name in others if name in WEIGHTS and _says_what_is_learned(name, rows))
    marks = () if pattern.answers else mark_readings(rows, others, pattern, asked)
    others = [name for name in others if name not in {reading.column for reading in marks}]
    readings: tuple[Reading, ...] = (*weights, *marks)
    notes = [note for reading in (*weights, *marks) if (note := reading.describe(rows))]
    thought = next((name for name in THOUGHT if name in used), None)
    if thought is not None and _is_switch(thought, rows):
        readings = (*readings, SwitchReading(thought))
        notes.append(f"`{thought}` only says whether or how much was thought, and is not used.")
    elif thought is not None:
        notes.append(f"`{thought}` is taken as the thought before each answer. To leave it out, remove the column.")
    column = pick(rows[0], pattern.answers[0])[0] if pattern.answers else ""
    if pattern.answers:
        firsts, said = settle_answers(column, asked.columns.get(column, column), rows)
        asked_in = pick(rows[0], pattern.required[0])[0]
        asking, of_questions = settle_questions(asked_in, rows)
        readings, notes = (*readings, *firsts, *asking), [*notes, *said, *of_questions]
        notes += json_notes(dict.fromkeys(filter(None, (asked_in, *pattern.addition)), "read"), rows)
    else:
        notes += content_notes(pattern.required[0], rows)
    notes += notes_on_prompts(pattern, rows)
    if asked.shape == AUTO:
        ask_about_marks(rows, pattern.names, pattern.name)
        ask_about_thoughts(rows, pattern.names, others, pattern.name)
        ask_about_choices(rows, others, pattern.name, column)
        if pattern.answers and not asked.records and not asked.columns:
            ask_about_places(rows, others, pick(rows[0], pattern.required[0])[0], column, pattern.name)
        if not pattern.answers and not asked.columns:
            ask_about_palm(rows, others, pick(rows[0], pattern.required[0])[0], pattern.name)
            ask_about_answers(rows, others, pick(rows[0], pattern.required[0])[0], pattern.name, asked.roles)
        if "history" in pattern.names and "history" not in asked.columns:
            ask_about_earlier(rows, others, pattern.name)
        if "tools" in pattern.names and "tools" not in asked.columns:
            ask_about_tools(rows, others, pattern.name)
    ask_about_worse(pattern, rows, others, used, asked)
    ask_about_two(pattern, rows, asked)
    if asked.is_free:
        for name in others:
            if name not in WEIGHTS:
                ask_about_rating(pattern, name, Counter(text.lower() for text in texts_of(rows, name)), used)
        ask_about_rated_messages(pattern, rows)
    return Settled(pattern, readings, tuple(notes))


def _says_what_is_learned(name: str, rows: Sequence[Values]) -> bool:
    found = {text.lower() for text in texts_of(rows, name)}
    return bool(found) and found <= _NOT_LEARNED | _IS_LEARNED
