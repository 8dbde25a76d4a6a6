"""Answers that are several: which of those that are accepted is learned, and when a list or an object is the answer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.chat.messages import (
    CONTENTS,
    by_role,
    find_role,
    is_message_list,
    is_part,
    messages_in,
    role_name,
)
from burnish.data.rows.printed import as_list

Values = Mapping[str, Any]

_ACCEPTED = re.compile(r"answers?|aliases|references?|targets|golds?|golden|labels", re.IGNORECASE)
"""Words in the name of a column whose lists hold answers of which each is right."""
_WORD = re.compile(r"[A-Za-z]+")
_VALUES = ("value", "text", "answer", "name")
"""Keys of an answer inside an object."""
_BESIDE = ("aliases", "normalized_value", "normalized_aliases", "answer_start", "score", "a_id")
"""Keys that an answer has beside it where an object is one answer with its other spellings, or several answers."""
_SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class FirstAnswerReading:
    """Takes the first of several accepted answers."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """None besides the pattern's own."""
        return ()

    def prepare(self, values: Values) -> Values:
        """The row with one answer in its column."""
        found = accepted(values.get(self.column))
        return values if found is None else {**values, self.column: found[0] if found else ""}


def accepted(cell: Any) -> list[str] | None:
    """The accepted answers in a cell, best first; None where it holds one answer.

    A list of texts, also as text; `{"value": ..., "aliases": [...]}` as TriviaQA has it; and
    `{"text": [...], "answer_start": [...]}` as SQuAD has it.
    """
    cell = _listed(cell)
    if isinstance(cell, Mapping):
        return _of_object(cell)
    if not isinstance(cell, list) or is_message_list(cell):
        return None
    found: list[str] = []
    for item in cell:
        inner = _of_object(item) if isinstance(item, Mapping) else [item]
        if inner is None or not all(isinstance(one, (str, int, float)) for one in inner):
            return None
        found += [str(one) for one in inner if str(one).strip()]
    return found


def _listed(cell: Any) -> Any:
    """A cell that spells a list as that list, but for numbers without commas, which may as well be one answer."""
    found = as_list(cell)
    are_numbers = isinstance(found, list) and all(isinstance(one, (int, float)) for one in found)
    return cell if isinstance(cell, str) and are_numbers and len(found) > 1 and "," not in cell else found


def _of_object(cell: Mapping[str, Any]) -> list[str] | None:
    name = next((name for name in _VALUES if cell.get(name)), None)
    if name is None or not any(key in cell for key in _BESIDE):
        return None
    found = cell[name] if isinstance(cell[name], list) else [cell[name]]
    others = cell.get("aliases")
    found = [*found, *(others if isinstance(others, list) else [])]
    return list(dict.fromkeys(found)) if all(isinstance(one, str) for one in found) else None


def names_several(name: str) -> bool:
    """Whether the name of a column says that its lists hold answers of which each is right."""
    return any(_ACCEPTED.fullmatch(word) for word in _WORD.findall(name))


def settle_answers(column: str, name: str, rows: Sequence[Values]) -> tuple[tuple[FirstAnswerReading, ...], list[str]]:
    """How the answers in a column are taken, and what to say of it.

    Args:
        column: with the answers.
        name: the same as the file calls it: lists in `answers` are answers of which each is right, those in `output`
            may be an answer that is a list.
        rows: values by column.
    """
    cells = [values.get(column) for values in rows]
    nested = [cell for cell in cells if isinstance(cell, (dict, list)) and cell]
    means_several = names_several(name)
    if means_several:
        nested += [cell for cell in cells if isinstance(cell, str) and isinstance(_listed(cell), list)]
    nested = [cell for cell in nested if not _is_text(_listed(cell))]
    several = [found for cell in nested if (found := accepted(cell)) is not None]
    if not nested:
        return (), []
    is_single = all(len(found) < 2 for found in several)
    are_objects = any(isinstance(cell, dict) for cell in nested)
    if len(several) == len(nested) and (means_several or is_single or are_objects):
        if is_single:
            return (FirstAnswerReading(column),), []
        number = sum(len(found) > 1 for found in several)
        return (FirstAnswerReading(column),), [
            f"`{name}` has several accepted answers in {number:,} of {len(rows):,} rows; the first of each is learned, "
            "and it alone counts as right. To learn a whole list as one answer, write it as text under the name "
            "`completion`."
        ]
    return (), [as_json_note(name, nested, len(rows), "learned")]


def as_json_note(name: str, nested: Sequence[Any], total: int, done: str) -> str:
    """That lists and objects are taken as JSON text, as a sentence.

    Args:
        name: of the column.
        nested: these cells, at least one.
        total: number of rows.
        done: what is done with them: `learned` or `read`.
    """
    return (
        f"`{name}` has lists or objects in {len(nested):,} of {total:,} rows; they are {done} as JSON text, such "
        f"as `{_shown(nested[0])}`."
    )


def _shown(cell: Any) -> str:
    shown = json.dumps(cell, ensure_ascii=False, default=str)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"


def json_notes(columns: Mapping[str, str], rows: Sequence[Values]) -> list[str]:
    """Sentences about columns whose cells are lists or objects, and neither messages nor texts in parts.

    Args:
        columns: name of each -> what is done with them: `learned` or `read`.
        rows: values by column.
    """
    notes = []
    for name, done in columns.items():
        cells = [cell for values in rows if isinstance(cell := values.get(name), (dict, list)) and cell]
        nested = [cell for cell in cells if not (_is_text(cell) or _are_texts(cell) or is_one_message(cell))]
        nested = [cell for cell in nested if next(messages_in(cell), None) is None]
        notes += [as_json_note(name, nested, len(rows), done)] if nested else []
    return notes


def content_notes(columns: Sequence[str], rows: Sequence[Values]) -> list[str]:
    """A sentence about messages whose content is an object that is no part of a message; results of tools may be.

    Args:
        columns: those that may hold conversations.
        rows: values by column.
    """
    said = (message for values in rows for name in columns for message in messages_in(values.get(name)))
    contents = (
        next((message[key] for key in CONTENTS if message.get(key) is not None), None)
        for message in said
        if find_role(str(role_name(message)), {}) in ("system", "user", "assistant")
    )
    found = [one for one in contents if isinstance(one, dict) and one and not is_part(one) and "parts" not in one]
    if not found:
        return []
    number = f"{len(found):,} messages have objects" if len(found) > 1 else "1 message has an object"
    return [f"{number} as content; they are read as JSON text, and learned as such in answers: `{_shown(found[0])}`."]


def is_one_message(cell: Any) -> bool:
    """Whether a cell is one message, or one for each of several roles; another object is an answer in JSON."""
    return isinstance(cell, dict) and (role_name(cell) is not None or len(by_role(cell)) > 1)


def _are_texts(cell: Any) -> bool:
    return isinstance(cell, list) and all(isinstance(one, str) for one in cell)


def settle_questions(column: str, rows: Sequence[Values]) -> tuple[tuple[FirstAnswerReading, ...], list[str]]:
    """How lists of texts in a column with questions are taken, and what to say of it: one text is itself."""
    cells = [values.get(column) for values in rows]
    lists = [cell for cell in cells if isinstance(cell, list) and cell and all(isinstance(one, str) for one in cell)]
    if not lists:
        return (), []
    if all(len(cell) == 1 for cell in lists):
        return (FirstAnswerReading(column),), []
    return (), [
        f"`{column}` has several texts in {len(lists):,} of {len(rows):,} rows; they are read as one, in JSON. "
        "If each is a question of its own, write a row for each."
    ]


def _is_text(cell: Any) -> bool:
    """Whether a cell is a message, or text in parts."""
    parts = cell if isinstance(cell, list) else [cell]
    return is_message_list(cell) or all(isinstance(part, dict) and is_part(part) for part in parts)
