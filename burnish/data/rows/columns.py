"""Columns: how a file's names become the fields that shapes know, and how a cell becomes text."""

from __future__ import annotations

import datetime
import decimal
import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from burnish.data.rows.row import RowError
from burnish.errors import DataError

FIELDS = (
    "text",
    "prompt",
    "completion",
    "system",
    "instruction",
    "input",
    "output",
    "messages",
    "conversations",
    "tools",
    "question",
    "answer",
    "response",
    "context",
    "chosen",
    "rejected",
    "label",
    "labels",
    "sentence1",
    "sentence2",
    "tokens",
    "tags",
    "answers",
    "images",
)
"""What a column can be mapped to in `data.columns`."""
OTHER_NAMES = (
    "content", "chosen_messages", "rejected_messages", "category", "class", "sentiment", "intent", "topic", "emotion",
    "sentence", "review", "comment", "premise", "hypothesis", "text1", "text2", "text_a", "text_b", "question1",
    "question2", "words", "ner_tags", "pos_tags", "chunk_tags", "image", "tweet", "utterance", "headline", "text_pair",
    "gold_label", "target",
)  # fmt: skip
"""Column names that some shape reads besides the fields."""


class ColumnMap:
    """Renames a row's columns: first as the recipe says, then `Question` to `question` where only the case differs."""

    def __init__(self, columns: Mapping[str, str]) -> None:
        self.columns = dict(columns)
        self.plans: dict[tuple[str, ...], dict[str, str]] = {}

    def rename(self, values: dict[str, Any]) -> dict[str, Any]:
        """The row's values under the names that shapes know; a column whose name was taken over is left out."""
        keys = tuple(values)
        plan = self.plans.get(keys)
        if plan is None:
            plan = self.plans[keys] = self.plan(keys)
        if not plan:
            return values
        taken = set(plan.values())
        return {plan.get(key, key): value for key, value in values.items() if key in plan or key not in taken}

    def plan(self, keys: tuple[str, ...]) -> dict[str, str]:
        """For rows with these columns: the new name of each column that gets one."""
        plan = {column: field for field, column in self.columns.items() if column in keys and column != field}
        for key in keys:
            name = str(key).strip().lower()
            is_known = name in FIELDS or name in OTHER_NAMES
            if is_known and name not in keys and name not in plan.values() and key not in plan:
                plan[key] = name
        return plan

    def check(self, found: Iterable[str]) -> None:
        """Refuse a map that names a field or a column which does not exist.

        Args:
            found: the columns of the file.

        Raises:
            DataError: naming it, with the nearest that exists.
        """
        found = list(found)
        for field, column in self.columns.items():
            if field not in FIELDS:
                raise DataError(
                    f"`data.columns.{field}` is not a field that a column can be mapped to",
                    f"The fields are {', '.join(FIELDS)}",
                    did_you_mean(field, FIELDS) or "Use one of these",
                )
            if column not in found:
                raise DataError(
                    f"there is no column `{column}`, which `data.columns.{field}` names",
                    f"The columns are {quoted(found)}",
                    did_you_mean(column, found) or f"Set `data.columns.{field}` to one of these",
                )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suggestion in words, or nothing where no known name is near."""
    lowered = {str(option).lower(): str(option) for option in known}
    near = difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)
    return f"Did you mean `{lowered[near[0]]}`?" if near else ""


def quoted(names: Iterable[str], most: int = 20) -> str:
    """Names in backticks, cut short where there are very many."""
    names = [f"`{name}`" for name in names]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) + more) or "none"


def as_text(value: Any, column: str) -> str | None:
    """A cell as text: numbers and booleans as JSON spells them, lists and objects as JSON; null and NaN as None.

    Raises:
        RowError: the cell holds what is not text, such as bytes, or half a surrogate pair.
    """
    if isinstance(value, str):
        check_characters(value, column)
        return value
    if value is None or value != value:  # NaN is what a missing cell becomes in many exports.
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, decimal.Decimal)):
        return str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (dict, list)):
        return as_json(value, column)
    raise RowError(f"`{column}` holds {type(value).__name__}, which is not text")


def as_json(value: Any, column: str) -> str:
    """A nested value as JSON text.

    Raises:
        RowError: it holds something that JSON has no word for.
    """
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise RowError(f"`{column}` cannot be written as JSON: {error}") from error
    check_characters(text, column)
    return text


def check_characters(text: str, column: str) -> None:
    """Refuse half a surrogate pair, which JSON can spell (`\\ud83d`) and no tokenizer can read.

    Raises:
        RowError: there is one.
    """
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise RowError(
            f"`{column}` holds half a surrogate pair (\\u{ord(text[error.start]):04x}), which is not a character"
        ) from error
