"""Rows that say the same as an earlier one, or nearly."""

from __future__ import annotations

import numpy

from burnish.check.prints import BINS, EMPTY, Prints

ALIKE = 0.8
"""Share of runs of words from which on two rows are nearly the same."""
_GROUP = 4
"""Bins in which two rows must agree to be compared at all (locality-sensitive hashing): of rows that are alike to 0.8,
one pair in 4,600 shares none of the 16 groups."""
_MOST_PEERS = 33
"""Rows of one bucket that each row is compared with: enough to find that it has a twin."""
_AT_ONCE = 8_192
"""Pairs whose bins stay near the processor."""
_FEWEST_TOLD = 8
"""Bins that must hold something for the estimate to mean anything; shorter rows are compared whole only."""


def exact_twins(prints: Prints) -> numpy.ndarray:
    """`[rows]` int64: for each row the first that says the same; itself where there is none before it."""
    _, first, number = numpy.unique(prints.whole, return_index=True, return_inverse=True)
    return first[number]


def near_twins(prints: Prints) -> numpy.ndarray:
    """`[rows]` int64: for each row an earlier one that says nearly the same; itself where none is found."""
    twins = numpy.arange(len(prints.whole))
    filled = _packed(prints.bins != EMPTY)
    for begin in range(0, BINS, _GROUP):
        part = numpy.ascontiguousarray(prints.bins[:, begin : begin + _GROUP])
        told = numpy.flatnonzero((part != EMPTY).any(axis=1))
        keys = part.view(numpy.uint64)[:, 0]
        order = told[numpy.argsort(keys[told], kind="stable")]
        keys, is_open = keys[order], twins[order] == order
        for distance in range(1, min(_MOST_PEERS, len(order))):
            same = keys[distance:] == keys[:-distance]
            if not same.any():
                break
            place = numpy.flatnonzero(same & is_open[distance:])
            later, earlier = order[place + distance], order[place]
            alike = _are_alike(prints.bins, filled, later, earlier)
            twins[later[alike]] = earlier[alike]
            is_open[place[alike] + distance] = False
    return twins


def _are_alike(bins: numpy.ndarray, filled: numpy.ndarray, some: numpy.ndarray, others: numpy.ndarray) -> numpy.ndarray:
    """`[pairs]` bool: whether the `agreement` of two rows is that of near duplicates, counted in bits.

    Args:
        bins: `[rows, BINS]`.
        filled: `[rows]` uint64: which of them hold something.
        some, others: `[pairs]`: numbers of rows.
    """
    alike = numpy.empty(len(some), dtype=bool)
    for begin in range(0, len(some), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        told = filled[some[part]] | filled[others[part]]
        same = numpy.bitwise_count(_packed(bins[some[part]] == bins[others[part]]) & told)
        count = numpy.bitwise_count(told)
        alike[part] = (count >= _FEWEST_TOLD) & (same / numpy.maximum(1, count) >= ALIKE)
    return alike


def _packed(truths: numpy.ndarray) -> numpy.ndarray:
    """`[rows]` uint64 of `[rows, BINS]` bool: a bit for each."""
    return numpy.packbits(truths, axis=1).view(numpy.uint64)[:, 0]


def agreement(some: numpy.ndarray, others: numpy.ndarray) -> numpy.ndarray:
    """`[pairs]`: the estimated share of runs that two rows have in common; 0 where too few bins tell.

    Args:
        some, others: `[pairs, BINS]` uint16.
    """
    told = (some != EMPTY) | (others != EMPTY)
    same = (some == others) & told
    count = told.sum(axis=1)
    return numpy.where(count >= _FEWEST_TOLD, same.sum(axis=1) / numpy.maximum(1, count), 0.0)
