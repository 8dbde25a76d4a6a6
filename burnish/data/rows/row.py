"""The values of the data layer: rows, examples, and rejected rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

IGNORED = -100
"""Label of a token that is not trained on (the value that torch's cross-entropy ignores)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file: column values and location."""

    values: dict[str, Any]
    file: str
    line: int
    """1-based line of the file where the row begins; for columnar files, the row's number."""
    note: str = ""
    """A sentence for the user about how the file was read; the same for all its rows."""

    @property
    def place(self) -> str:
        """`file:line`, as in errors."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that cannot be used, and why. Written to `rejected.jsonl`, counted and reported on the terminal."""

    file: str
    line: int
    reason: str

    @property
    def place(self) -> str:
        """`file:line`, as in errors."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids and labels of one example, before batching.

    `labels[i]` is `input_ids[i]` if token i is trained on, else `IGNORED`; the shift by one happens in collation. Both
    have the same length.
    """

    input_ids: Sequence[int] | numpy.ndarray
    labels: Sequence[int] | numpy.ndarray
    place: str

    @property
    def num_tokens(self) -> int:
        """Number of tokens."""
        return len(self.input_ids)

    @property
    def num_trained(self) -> int:
        """Number of tokens in the loss; the first token of an example is never predicted."""
        labels = self.labels[1:]
        is_array = isinstance(labels, numpy.ndarray)
        return len(labels) - int(numpy.count_nonzero(labels == IGNORED) if is_array else labels.count(IGNORED))


class RowError(ValueError):
    """A row cannot be used; the message gives the reason. Caught by the loader, which counts and reports the row."""
