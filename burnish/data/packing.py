"""Packing: whole examples into rows of the context length."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence


def pack_best_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Best-fit decreasing bin packing: each example goes, longest first, into the fullest row that still has room.

    Args:
        lengths: tokens of each example.
        capacity: tokens of a row; no length may exceed it.

    Returns:
        Rows of indices into `lengths`. Every index stands in exactly one row. Uses at most 11/9 of the rows that
        the best packing needs, plus one (Johnson 1973).

    Raises:
        ValueError: an example is longer than a row.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (tokens left, row), sorted
    for index in order:
        length = lengths[index]
        if length > capacity:
            raise ValueError(f"example {index} has {length} tokens, more than a row of {capacity}")
        at = bisect_left(room, (length, -1))
        if at == len(room):
            row, left = len(rows), capacity
            rows.append([])
        else:
            left, row = room.pop(at)
        rows[row].append(index)
        if left > length:
            insort(room, (left - length, row))
    return rows
