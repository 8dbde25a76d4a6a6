"""The table of shapes: which columns each has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Field = tuple[str, ...]
"""The names that a column may have, the best first."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a shape looks like: fields that its rows must have, and fields that they may have."""

    name: str
    task: str
    required: tuple[Field, ...]
    """Where question and answer have columns of their own: these two."""
    optional: tuple[Field, ...] = ()
    addition: Field = ()
    """What is joined to the question where there is any, for example Alpaca's `input`."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """Every field that this shape reads."""
        return (*self.required, self.addition, *self.optional)

    @property
    def names(self) -> tuple[str, ...]:
        """Every column name that this shape reads."""
        return tuple(name for field in self.fields for name in field)

    @property
    def needs(self) -> str:
        """The columns it needs, in words."""
        return " + ".join("|".join(field) for field in self.required)

    def fits(self, columns: Iterable[str]) -> bool:
        """Whether rows with these columns have this shape."""
        columns = tuple(columns)
        if self.name == "text" and "text" not in columns:
            return columns == ("content",)
        return all(any(name in columns for name in field) for field in self.required)

    def reads(self, columns: Iterable[str]) -> set[str]:
        """Which of a row's columns are read: of each field, the first that is there."""
        columns = tuple(columns)
        picked = (next((name for name in field if name in columns), None) for field in self.fields)
        return {name for name in picked if name is not None}

    def narrowed(self, mapped: Iterable[str]) -> Pattern:
        """The same shape, reading a mapped field and not its other names."""
        mapped = tuple(mapped)
        required, optional, (addition,) = (
            tuple(tuple(name for name in field if name in mapped) or field for field in fields)
            for fields in (self.required, self.optional, (self.addition,))
        )
        return replace(self, required=required, optional=optional, addition=addition)


SYSTEM, TOOLS = ("system",), ("tools",)
# The first that fits is taken, so the more telling ones stand first: many sets carry a rendered `text` besides.
PATTERNS = (
    Pattern("messages", "chat", (("messages", "conversations"),), (TOOLS, SYSTEM)),
    Pattern("sharegpt", "chat", (("conversations", "messages"),), (TOOLS, SYSTEM)),
    Pattern("alpaca", "chat", (("instruction",), ("output",)), (SYSTEM,), ("input",)),
    Pattern("instruction-response", "chat", (("instruction",), ("response",)), (SYSTEM,), ("input", "context")),
    Pattern(
        "prompt-completion", "chat", (("prompt",), ("completion", "response", "output", "answer")), (TOOLS, SYSTEM)
    ),
    Pattern("question-answer", "chat", (("question",), ("answer",)), (SYSTEM,)),
    Pattern("text", "text", (("text", "content"),), (("ends",),)),
)
BY_NAME = {pattern.name: pattern for pattern in PATTERNS}
CONVERSATIONS = ("messages", "sharegpt")
"""Shapes that hold a list of messages. They differ in spelling only, so each reads the other."""


def pick(values: Mapping[str, Any], field: Field) -> tuple[str, Any]:
    """(name, value) of the first of a field's columns that the row has; (best name, None) where it has none."""
    name = next((name for name in field if name in values), field[0])
    return name, values.get(name)


def pattern_of(values: Mapping[str, Any], patterns: Sequence[Pattern]) -> Pattern | None:
    """The first of the patterns that a row fits."""
    fitting = [pattern for pattern in patterns if pattern.fits(values)]
    if fitting and fitting[0].name in CONVERSATIONS:
        _, turns = pick(values, fitting[0].required[0])
        speaks_from = isinstance(turns, list) and bool(turns) and isinstance(turns[0], dict) and "from" in turns[0]
        spelling = "sharegpt" if speaks_from else "messages"
        return next((pattern for pattern in fitting if pattern.name == spelling), fitting[0])
    return fitting[0] if fitting else None


def describe_patterns() -> str:
    """The shapes and the columns they need, in words."""
    return "; ".join(f"{pattern.name} ({pattern.needs})" for pattern in PATTERNS)
