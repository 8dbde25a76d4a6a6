"""What is decided about a file once all of its rows are known: its shape, and how its cells are to be taken.

A pattern's `settle` function decides it; `Shape.to_record` then applies the readings to every row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from burnish.recipe.schema import AUTO, AnnotationSection

if TYPE_CHECKING:
    from burnish.data.rows.pattern import Pattern
    from burnish.data.rows.records import Record

Choice = tuple[str, Any, str]
"""A dotted option, its value, and the reason for it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user has set about the meaning of the rows; `auto` or empty where nothing was."""

    columns: Mapping[str, str] = field(default_factory=dict)
    """Field -> column of the file."""
    shape: str = AUTO
    records: tuple[type[Record], ...] = ()
    """Kinds of record that the user's task learns from."""
    roles: Mapping[str, str] = field(default_factory=dict)
    """Role in the file -> role that it means."""
    annotation: AnnotationSection = field(default_factory=AnnotationSection)
    group: str | None = None
    """The column that says which rows stay in one split, and nothing about the meaning of a row."""

    @property
    def is_free(self) -> bool:
        """Whether everything is left to detection."""
        return self.shape == AUTO and not self.records and not self.columns


class Reading(Protocol):
    """How the cells of every row are taken before the pattern makes a record of them."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it uses besides those of the pattern."""
        ...

    def prepare(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row's values as the pattern expects them. Raises RowError where the row has to be left out."""
        ...


@dataclass(frozen=True, slots=True)
class Settled:
    """The shape of a file, and how its cells are taken."""

    pattern: Pattern
    readings: tuple[Reading, ...] = ()
    """Applied in order."""
    notes: tuple[str, ...] = ()
    """Sentences for the user: what was guessed, and how to choose otherwise."""
    choices: tuple[Choice, ...] = ()
    """Values for options that are `auto`."""
