"""What travels through the data layer: rows, records' examples, and what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

IGNORED = -100
"""Label of a token that is read but not trained on (the value that torch's cross-entropy ignores)."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row as the file holds it: column values, and where it stands."""

    values: dict[str, Any]
    file: str
    line: int
    """1-based line of the file where the row begins; for columnar files, the row's number."""
    note: str = ""
    """What one should know of how the file was read, in a sentence; the same for all its rows."""

    @property
    def place(self) -> str:
        """`file:line`, as errors name it."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that is left out, and why. Written to `rejected.jsonl`, counted and named on the terminal."""

    file: str
    line: int
    reason: str

    @property
    def place(self) -> str:
        """`file:line`, as errors name it."""
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids and labels of one example, before batching.

    `labels[i]` is `input_ids[i]` where token i is trained on, and `IGNORED` elsewhere (the shift by one is the
    batch's work). Both have the same length.
    """

    input_ids: Sequence[int] | numpy.ndarray
    labels: Sequence[int] | numpy.ndarray
    place: str

    @property
    def num_tokens(self) -> int:
        """Tokens read."""
        return len(self.input_ids)

    @property
    def num_trained(self) -> int:
        """Tokens that add to the loss: the first token of an example is never predicted."""
        labels = self.labels[1:]
        is_array = isinstance(labels, numpy.ndarray)
        return len(labels) - int(numpy.count_nonzero(labels == IGNORED) if is_array else labels.count(IGNORED))


class RowError(ValueError):
    """This one row cannot be used; the message says why. Caught by the loader, which counts and names the row."""
