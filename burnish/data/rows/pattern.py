"""A pattern: which columns rows of a shape have, and what makes records of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from burnish.data.rows.records import Record
from burnish.data.rows.row import Field


@dataclass(frozen=True, slots=True)
class Pattern:
    """The definition of a shape: fields that its rows must have, and fields that they may have."""

    name: str
    record: type[Record]
    """What such rows mean. A task says which kinds of record it learns from."""
    reader: str
    """`module:function` that makes a record from a row: (pattern, values, place) -> Record, raising RowError."""
    required: tuple[Field, ...]
    """Required columns; for shapes of questions and answers, these two."""
    optional: tuple[Field, ...] = ()
    addition: Field = ()
    """An optional column that is appended to the question, for example Alpaca's `input`."""
    test: Callable[[Mapping[str, Any]], bool] | None = None
    """What the values must look like besides, where the columns alone are ambiguous."""
    notes: str = ""
    """`module:function` that says what one should know of how all rows were read: (values of each) -> sentences."""
    settle: str = ""
    """`module:function` that decides over all rows what they mean: (pattern, values of each, what was asked) ->
    Settled, or None where they have another shape. Raises DataError where only the user can decide."""
    answers: tuple[Field, ...] = ()
    """Which required columns hold what a model is to write, or how good that is; none where question and answer are in
    one column, or are no texts."""
    roles: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The user's names of roles in conversations."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """Every field of this shape."""
        return (*self.required, self.addition, *self.optional)

    @property
    def names(self) -> tuple[str, ...]:
        """Every column name that this shape can use."""
        return tuple(name for field in self.fields for name in field)

    @property
    def needs(self) -> str:
        """The required columns as a phrase, with the first names of each."""
        return " + ".join("|".join((*field[:_NAMED], *["…"][: len(field) > _NAMED])) for field in self.required)

    def make_notes(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """What one should know of how the rows were read."""
        return load_function(self.notes)(rows) if self.notes else []

    def fits(self, values: Mapping[str, Any]) -> bool:
        """Whether a row has this shape."""
        return self.has_columns(tuple(values)) and (self.test is None or self.test(values))

    def has_columns(self, columns: tuple[str, ...]) -> bool:
        """Whether a row with these columns may have this shape."""
        if self.required == _TEXT_ALONE and "text" not in columns:
            return columns == ("content",)
        return all(any(name in columns for name in field) for field in self.required)

    def reads(self, columns: Iterable[str]) -> set[str]:
        """The columns of a row that are used: of each field, the first that exists."""
        columns = tuple(columns)
        picked = (next((name for name in field if name in columns), None) for field in self.fields)
        return {name for name in picked if name is not None}

    def narrowed(self, mapped: Iterable[str]) -> Pattern:
        """The same shape, with only the mapped name for a mapped field."""
        mapped = tuple(mapped)
        required, optional, answers, (addition,) = (
            tuple(tuple(name for name in field if name in mapped) or field for field in fields)
            for fields in (self.required, self.optional, self.answers, (self.addition,))
        )
        return replace(self, required=required, optional=optional, answers=answers, addition=addition)


_NAMED = 6
"""Names of a column that an error lists."""
_TEXT_ALONE = (("text", "content"),)
"""What rows of text alone require: other columns may be beside `text`, and none beside `content`."""


@cache
def load_function(name: str) -> Any:
    """What `module:function` names."""
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)
