"""Rows of a batch plan: which examples share one, packed as full as possible, in a few bytes each."""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import overload

import numpy

_PART = 1 << 16
"""Lengths that are Python's numbers at the same time."""


class Rows(Sequence[list[int]]):
    """Rows of indices: a list is made when its row is asked for.

    Args:
        ends: `[rows]` int64: the number of indices in this row and all before it.
        indices: `[indices]` int64: those of all rows, one after the other.
    """

    def __init__(self, ends: numpy.ndarray, indices: numpy.ndarray) -> None:
        self.ends, self.indices = ends, indices

    @classmethod
    def single(cls, number: int) -> Rows:
        """So many rows of one index each."""
        return cls(numpy.arange(1, number + 1), numpy.arange(number))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> list[int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...
    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        begin = self.ends[number - 1] if number else 0
        return self.indices[begin : self.ends[number]].tolist()

    def __iter__(self) -> Iterator[list[int]]:
        return (self[number] for number in range(len(self)))

    def sums(self, values: numpy.ndarray) -> numpy.ndarray:
        """`[rows]` int64: for each row, the sum of the values of its indices."""
        sums = numpy.concatenate([[0], numpy.cumsum(values[self.indices])])[numpy.concatenate([[0], self.ends])]
        return numpy.diff(sums)


def pack_best_fit(lengths: Sequence[int] | numpy.ndarray, capacity: int) -> Rows:
    """Best-fit decreasing bin packing: puts each example, longest first, into the fullest row that still has room, and
    of equally full ones into the first.

    Args:
        lengths: length of each example in tokens.
        capacity: tokens per row; no length may exceed it.

    Returns:
        Rows of indices into `lengths`. Every index is in exactly one row. Uses at most 11/9 of the optimal number of
        rows, plus one (Johnson 1973).

    Raises:
        ValueError: an example is longer than a row.
    """
    lengths = numpy.asarray(lengths, numpy.int64)
    order = numpy.argsort(-lengths, kind="stable")
    if len(order) and lengths[order[0]] > capacity:
        index = int(order[0])
        raise ValueError(f"example {index} has {lengths[index]} tokens, more than a row of {capacity}")
    row_of = numpy.array(_row_of_each(lengths, order, capacity), numpy.int64)
    # within a row, in the order in which they were put there
    indices = order[numpy.argsort(row_of, kind="stable")]
    return Rows(numpy.cumsum(numpy.bincount(row_of)), indices)


def _row_of_each(lengths: numpy.ndarray, order: numpy.ndarray, capacity: int) -> array[int]:
    """`[examples]`: for the examples in this order, the number of its row."""
    row_of, number = array("q"), 0
    rooms: list[int] = []  # in tokens, of rows that are not full; sorted, each once
    rows_with: dict[int, list[int]] = {}  # for each room, the rows that have it, as a heap
    for begin in range(0, len(order), _PART):
        for length in lengths[order[begin : begin + _PART]].tolist():
            at = bisect_left(rooms, length)
            if at == len(rooms):
                row, left, number = number, capacity, number + 1
            else:
                left = rooms[at]
                row = heapq.heappop(rows_with[left])
                if not rows_with[left]:
                    del rows_with[left], rooms[at]
            row_of.append(row)
            if left == length:
                continue
            if left - length not in rows_with:
                rows_with[left - length] = []
                insort(rooms, left - length)
            heapq.heappush(rows_with[left - length], row)
    return row_of
