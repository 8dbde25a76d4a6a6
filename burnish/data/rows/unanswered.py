"""Rows that are only asked about: they are read like the training rows of a run, but need not have their answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from burnish.data.chat.messages import as_messages, find_role, role_name
from burnish.data.rows.pattern import Pattern, load_function
from burnish.data.rows.patterns import BY_NAME, TURNS
from burnish.data.rows.records import RatedRecord, Record
from burnish.data.rows.row import ColumnMap, Row, RowError, parse_json_text, pick

_PLACEHOLDERS = ("?", "!")
"""In place of answers while a row is read. There are two, since the answers of a pair must differ."""


@dataclass(frozen=True, slots=True)
class UnansweredRows:
    """Reads rows whose answers a model is to write. Answers that they have are not used."""

    pattern: Pattern
    columns: ColumnMap

    @classmethod
    def like(cls, shape: str, columns: Mapping[str, str], roles: Mapping[str, str]) -> UnansweredRows:
        """For a run whose training rows had this shape.

        Args:
            shape: its name.
            columns: field -> column of the file.
            roles: the user's names of roles in conversations.
        """
        return cls(replace(BY_NAME[shape].narrowed(columns), roles=roles), ColumnMap(columns))

    def to_record(self, row: Row) -> Record:
        """The record of a row, with a placeholder as its answer.

        Raises:
            RowError: the row has no question in the form of the training rows.
        """
        values = dict(self.columns.rename(row.values))
        rating = self.pattern.required[-1] if self.pattern.record is RatedRecord else None
        first = self.pattern.required[0]
        has_turns = set(TURNS) <= set(first)
        is_answered = has_turns and len(self.pattern.answers) < len(_PLACEHOLDERS)
        for field, placeholder in zip(self.pattern.answers, _PLACEHOLDERS[is_answered:], strict=False):
            values[pick(values, field)[0]] = True if field == rating else placeholder
        if has_turns:
            name, turns = pick(values, first)
            said = as_messages(parse_json_text(turns, f"`{name}`"), self.pattern.roles)
            values[name] = self._with_next_turn(said, is_answered)
        missing = [field for field in self.pattern.required if not any(name in values for name in field)]
        if missing:
            raise RowError(f"there is no column `{missing[0][0]}`")
        return load_function(self.pattern.reader)(self.pattern, values, row.place)

    def used(self, columns: Iterable[str]) -> set[str]:
        """The columns of a row, as its file calls them, that are read: all but answers, and those of no field."""
        columns = tuple(columns)
        plan = self.columns.plan(columns)
        renamed = {plan.get(column, column): column for column in columns}
        answers = {name for field in self.pattern.answers for name in field}
        return {renamed[name] for name in self.pattern.reads(renamed) - answers}

    def _with_next_turn(self, turns: Any, is_answered: bool) -> Any:
        """A conversation whose next turn is the assistant's: answers at its end are left out.

        Args:
            turns: of a row.
            is_answered: whether a placeholder is the next turn; not where a column has the answer.
        """
        if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            return turns
        end = len(turns)
        while end and self._is_answer(turns[end - 1]):
            end -= 1
        speaker, content = ("from", "value") if end and "from" in turns[end - 1] else ("role", "content")
        return [*turns[:end], *([{speaker: "assistant", content: _PLACEHOLDERS[0]}] if is_answered else [])]

    def _is_answer(self, turn: Mapping[str, Any]) -> bool:
        role = role_name(turn)
        meaning = find_role(role, self.pattern.roles) if isinstance(role, str) else None
        return meaning in ("assistant", "function_call", "thought")
