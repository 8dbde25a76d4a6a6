"""What is kept of each row, in a few bytes, to find those that say the same or nearly the same.

Near duplicates by MinHash (Broder 1997) with one permutation (Li, Owen and Zhang 2012, arXiv 1208.1259): every run of
words is hashed once, the hash chooses one of some bins and the least of each bin is kept, in 16 bits. The share of bins
in which two rows agree estimates the share of runs that both have. datasketch does the same row by row in Python; here
a block of rows is one array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy

BINS, RUN = 64, 3
EMPTY = numpy.uint16(0xFFFF)
"""A bin that no run of the row fell into."""
_AT_ONCE = 256
"""Rows whose arrays stay near the processor."""
_GROWTH = numpy.uint64(0x9E3779B97F4A7C15)
_SMALL = numpy.arange(256, dtype=numpy.uint8)
_SMALL[65:91] += 32
_IS_WORD = numpy.zeros(256, dtype=bool)
_IS_WORD[[*range(48, 58), *range(65, 91), *range(97, 123), *range(128, 256)]] = True


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
    return Prints.join([_of_some(texts[begin : begin + _AT_ONCE]) for begin in range(0, len(texts), _AT_ONCE)])


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

    Args:
        text: all rows; each ends with a byte that is part of no word.
        sizes: `[rows]`: bytes of each, that byte included.
    """
    letters = numpy.frombuffer(text, dtype=numpy.uint8)
    inside = _IS_WORD[letters]
    begins = inside & ~numpy.concatenate([[False], inside[:-1]])
    first = numpy.flatnonzero(begins)
    if not len(first):
        return numpy.zeros(0, numpy.uint64), numpy.zeros(len(sizes), numpy.int64)
    number = numpy.cumsum(begins)
    place = numpy.arange(len(letters)) - first[numpy.maximum(number - 1, 0)]
    powers = _powers(int(place[inside].max()) + 1)
    values = (_SMALL[letters].astype(numpy.uint64) + numpy.uint64(1)) * powers[numpy.where(inside, place, 0)]
    words = numpy.add.reduceat(numpy.where(inside, values, numpy.uint64(0)), first)
    return mixed(words), number[numpy.cumsum(sizes) - 1]


def _powers(count: int) -> numpy.ndarray:
    """`[count]` uint64: powers of an odd number, modulo 2^64."""
    factors = numpy.full(count, _GROWTH)
    factors[0] = numpy.uint64(1)
    return numpy.multiply.accumulate(factors)


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
