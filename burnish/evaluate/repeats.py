"""Held-out rows that say the same: each counts, and all of them are drawn as one.

An interval draws rows again as if each were news. A row that stands there eight times is one piece of news, and drawing
its copies apart would make a figure look eight times as sure as it is; so they are drawn together, as clusters are
(Davison and Hinkley 1997, ch. 3.8).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy

from burnish.data.records import Record, content_hash
from burnish.metrics.measure import Measure, added_up


@dataclass(frozen=True, slots=True)
class Repeats:
    """Which rows are the same."""

    rows: numpy.ndarray
    """`[rows]` int64: rows with the same number say the same."""
    examples: numpy.ndarray
    """`[examples]` int64: the number of the row that each is made from."""

    @property
    def distinct(self) -> int:
        """How many rows say something of their own."""
        return int(self.rows.max()) + 1

    def merge(self, measure: Measure) -> Measure:
        """The same figure, with one line of its table for all rows that say the same."""
        for groups in (self.rows, self.examples):
            if len(groups) == len(measure.table):
                return added_up(measure, groups)
        return measure


def merged(measure: Measure, repeats: Repeats | None) -> Measure:
    """`Repeats.merge` where rows say the same; else the figure as it is."""
    return measure if repeats is None else repeats.merge(measure)


def repeats_among(keys: Sequence[Hashable]) -> Repeats | None:
    """Of rows by what they say; None where no two say the same."""
    number: dict[Hashable, int] = {}
    groups = numpy.array([number.setdefault(key, len(number)) for key in keys], dtype=numpy.int64)
    return Repeats(groups, groups) if len(number) < len(groups) else None


def repeated_records(records: Sequence[Record], owners: Sequence[int]) -> Repeats | None:
    """Of the records that are judged; None where no two say the same.

    Args:
        records: of which some may not have made it.
        owners: for each example, the number of its record.
    """
    judged = sorted(set(owners))
    found = repeats_among([content_hash(records[row]) for row in judged])
    if found is None:
        return None
    return Repeats(found.rows, found.rows[numpy.searchsorted(judged, owners)])
