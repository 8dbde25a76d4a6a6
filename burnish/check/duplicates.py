"""Rows that repeat an earlier one, or nearly; found by a few bytes kept of each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy

BINS, RUN = 64, 3
EMPTY = numpy.uint16(0xFFFF)
"""A bin that no run of the row fell into."""
_PAIRS_AT_ONCE = 256
"""Rows whose arrays stay near the processor."""
_GROWTH = numpy.uint64(0x9E3779B97F4A7C15)
_LETTERS = bytes(
    byte + 32 if 65 <= byte < 91 else byte if 48 <= byte < 58 or 97 <= byte < 123 or byte >= 128 else 0
    for byte in range(256)
)
"""What each byte counts as: digits, small letters and all beyond ASCII as themselves, marks and blanks as nothing."""
_EIGHT = 8
_LOWEST = numpy.array([(1 << 8 * count) - 1 for count in range(_EIGHT + 1)], dtype=numpy.uint64)
"""Keeps the lowest 0 to 8 bytes of a number."""


@dataclass(frozen=True, slots=True)
class Prints:
    """Of some rows."""

    whole: numpy.ndarray
    """`[rows]` uint64: of all that a row says."""
    bins: numpy.ndarray
    """`[rows, BINS]` uint16."""

    @classmethod
    def none(cls) -> Prints:
        """Of no rows."""
        return cls(numpy.zeros(0, numpy.uint64), numpy.zeros((0, BINS), numpy.uint16))

    @classmethod
    def join(cls, parts: Sequence[Prints]) -> Prints:
        """Of all rows, in the order of the parts."""
        if not parts:
            return cls.none()
        return cls(numpy.concatenate([part.whole for part in parts]), numpy.concatenate([part.bins for part in parts]))


def take_prints(texts: Sequence[str]) -> Prints:
    """The prints of rows; the bins by their words: letters, digits and all beyond ASCII, in small letters.

    Args:
        texts: what each row says.
    """
    return Prints.join(
        [_of_some(texts[begin : begin + _PAIRS_AT_ONCE]) for begin in range(0, len(texts), _PAIRS_AT_ONCE)]
    )


def _of_some(texts: Sequence[str]) -> Prints:
    coded = [text.encode("utf-8", "surrogatepass") for text in texts]
    words, ends = _words(b"\n".join(coded) + b"\n", numpy.array([len(text) + 1 for text in coded]))
    whole = numpy.frombuffer(b"".join(blake2b(text, digest_size=8).digest() for text in coded), numpy.uint64)
    bins = numpy.full((len(texts), BINS), EMPTY, numpy.uint16)
    counts = numpy.diff(ends, prepend=0)
    row = numpy.repeat(numpy.arange(len(texts)), counts)
    place = numpy.arange(len(words)) - numpy.repeat(ends - counts, counts)
    if len(words):
        _fill_bins(bins, words, row, place, numpy.repeat(counts, counts))
    return Prints(whole, bins)


def _words(text: bytes, sizes: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """`[words]` uint64 hash of each word, and `[rows]` int64 number of words up to the end of each row.

    A word is read as numbers of eight bytes each, and the sum of their hashes is its own.

    Args:
        text: all rows; each ends with a byte that is part of no word.
        sizes: `[rows]`: bytes of each, that byte included.
    """
    letters = b"\0" + text.translate(_LETTERS) + bytes(_EIGHT)
    inside = numpy.frombuffer(letters, numpy.uint8) != 0
    edges = numpy.flatnonzero(inside[1:] != inside[:-1]) + 1
    first, length = edges[::2], edges[1::2] - edges[::2]
    ends = numpy.searchsorted(first, numpy.cumsum(sizes) + 1)
    if not len(first):
        return numpy.zeros(0, numpy.uint64), ends
    counts = -(-length // _EIGHT)
    begins = numpy.cumsum(counts) - counts
    number = numpy.arange(counts.sum()) - numpy.repeat(begins, counts)
    offset = _EIGHT * number
    eights = numpy.ndarray(len(letters) - _EIGHT + 1, numpy.dtype("<u8"), letters, strides=(1,))
    values = eights[numpy.repeat(first, counts) + offset]
    values &= _LOWEST[numpy.minimum(_EIGHT, numpy.repeat(length, counts) - offset)]
    return numpy.add.reduceat(mixed(values + number.astype(numpy.uint64) * _GROWTH), begins), ends


def _fill_bins(
    bins: numpy.ndarray, words: numpy.ndarray, row: numpy.ndarray, place: numpy.ndarray, counts: numpy.ndarray
) -> None:
    """Puts the least hash of each bin of each row into `bins`. A row shorter than a run is one run by itself."""
    runs = words.copy()
    for step in range(1, RUN):
        inside = row[step:] == row[:-step]
        longer = runs[:-step] * _GROWTH + words[step:]
        runs[:-step] = numpy.where(inside, longer, runs[:-step])
    runs = mixed(runs)
    is_whole = (counts - place >= RUN) | (place == 0)
    at = row[is_whole] * BINS + (runs[is_whole] % numpy.uint64(BINS)).astype(numpy.int64)
    least = (runs[is_whole] >> numpy.uint64(48)).astype(numpy.uint16)
    numpy.minimum.at(bins.reshape(-1), at, numpy.minimum(least, EMPTY - numpy.uint16(1)))


def mixed(numbers: numpy.ndarray) -> numpy.ndarray:
    """Every bit of a result follows from every bit of a number (the finalizer of SplitMix64, Steele et al. 2014).

    Args:
        numbers: uint64, of any shape.
    """
    numbers = (numbers ^ (numbers >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> numpy.uint64(31))


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
