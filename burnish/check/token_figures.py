"""How long rows are in tokens, how much of them is learned, and whether their end is."""

from __future__ import annotations

from array import array
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy

from burnish.check.finding import Tally
from burnish.data.row import Example
from burnish.data.sequence_pairs import SequencePair
from burnish.tasks.task import EncodedRow

_OF_TOKENS = (Example, SequencePair)


class Lengths(NamedTuple):
    """Tokens of the rows."""

    median: int
    most_of_95: int
    """95 of 100 rows are no longer."""
    longest: int


class TokenFigures:
    """Adds up what is told of each row."""

    def __init__(self, stop_ids: Collection[int]) -> None:
        """Begins at nothing.

        Args:
            stop_ids: tokens of which each row should learn one; empty where nothing is generated.
        """
        self.tokens = self.trained = 0
        self.counts_tokens = True
        """Whether what is learned is tokens, and not a label or a choice for the row."""
        self.longest_place = ""
        self._longest = -1
        self._lengths = array("i")
        self._stop_ids = frozenset(stop_ids)

    def add(self, record: Any, row: EncodedRow, tally: Tally) -> None:
        """Takes note of a row.

        Args:
            record: what it means.
            row: what became of it.
            tally: told of what is wrong.
        """
        length = sum(example.num_tokens for example in row.examples)
        if length > self._longest:
            self._longest, self.longest_place = length, record.place
        self._lengths.append(length)
        self.tokens += length
        self.trained += sum(example.num_trained for example in row.examples)
        self.counts_tokens = self.counts_tokens and all(type(example) in _OF_TOKENS for example in row.examples)
        if row.truncated_tokens:
            tally.add("cut", record.place, f"{row.truncated_tokens:,} tokens too many")
        if self._stop_ids and getattr(record, "ends", True) and not self._learns_end(row):
            tally.add("end-not-learned", record.place)

    def join(self, later: TokenFigures) -> None:
        """Takes in rows that come after these."""
        self.tokens += later.tokens
        self.trained += later.trained
        self.counts_tokens = self.counts_tokens and later.counts_tokens
        self._lengths.extend(later._lengths)
        if later._longest > self._longest:
            self._longest, self.longest_place = later._longest, later.longest_place

    def _learns_end(self, row: EncodedRow) -> bool:
        plain = [example for example in row.examples if isinstance(example, Example)]
        return not plain or not all(self._stop_ids.isdisjoint(example.labels[-8:]) for example in plain)

    def lengths(self) -> Lengths:
        """Of all rows; zeros where there are none."""
        if not self._lengths:
            return Lengths(0, 0, 0)
        numbers = numpy.frombuffer(self._lengths, dtype=numpy.int32)
        median, most = numpy.quantile(numbers, [0.5, 0.95])
        return Lengths(round(median), round(most), int(numbers.max()))

    @property
    def share(self) -> float:
        """Share of the tokens that are learned."""
        return self.trained / self.tokens if self.tokens else 0.0
