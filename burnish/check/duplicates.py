"""Finds exact and near duplicates of earlier rows by MinHash, keeping a few bytes per row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy

BINS, RUN = 64, 3
EMPTY = numpy.uint16(0xFFFF)
"""An empty bin: no shingle of the row fell into it."""
_PAIRS_AT_ONCE = 256
"""Rows per batch, so that the arrays stay in the processor's cache."""
_GROWTH = numpy.uint64(0x9E3779B97F4A7C15)
_LETTERS = bytes(
    byte + 32 if 65 <= byte < 91 else byte if 48 <= byte < 58 or 97 <= byte < 123 or byte >= 128 else 0
    for byte in range(256)
)
"""Maps bytes: digits, lower-case letters and all non-ASCII to themselves, upper case to lower case, the rest to 0."""
_WORD_BYTES = 8
_BYTE_MASKS = numpy.array([(1 << 8 * count) - 1 for count in range(_WORD_BYTES + 1)], dtype=numpy.uint64)
"""Masks that keep the lowest 0 to 8 bytes of a number."""


@dataclass(frozen=True, slots=True)
class Fingerprints:
    """Fingerprints of some rows."""

    full: numpy.ndarray
    """`[rows]` uint64: hash of a row's complete text."""
    bins: numpy.ndarray
    """`[rows, BINS]` uint16: MinHash sketch of a row's shingles of three words."""

    @classmethod
    def none(cls) -> Fingerprints:
        """Fingerprints of no rows."""
        return cls(numpy.zeros(0, numpy.uint64), numpy.zeros((0, BINS), numpy.uint16))

    @classmethod
    def join(cls, parts: Sequence[Fingerprints]) -> Fingerprints:
        """Concatenates fingerprints."""
        if not parts:
            return cls.none()
        return cls(numpy.concatenate([part.full for part in parts]), numpy.concatenate([part.bins for part in parts]))

    @classmethod
    def taken_from(cls, parts: list[Fingerprints]) -> Fingerprints:
        """Concatenates fingerprints and empties the list, so that most of them are in memory only once."""
        number = sum(len(part.full) for part in parts)
        full, bins = numpy.empty(number, numpy.uint64), numpy.empty((number, BINS), numpy.uint16)
        while parts:
            part = parts.pop()
            end, number = number, number - len(part.full)
            full[number:end], bins[number:end] = part.full, part.bins
        return cls(full, bins)


def compute_fingerprints(texts: Sequence[str]) -> Fingerprints:
    """Fingerprints of rows. The sketch is made from words: letters, digits and all non-ASCII characters, in lower case.

    Args:
        texts: the text of each row.
    """
    return Fingerprints.join(
        [_of_batch(texts[begin : begin + _PAIRS_AT_ONCE]) for begin in range(0, len(texts), _PAIRS_AT_ONCE)]
    )


def _of_batch(texts: Sequence[str]) -> Fingerprints:
    coded = [text.encode("utf-8", "surrogatepass") for text in texts]
    words, ends = _words(b"\n".join(coded) + b"\n", numpy.array([len(text) + 1 for text in coded]))
    full = numpy.frombuffer(b"".join(blake2b(text, digest_size=8).digest() for text in coded), numpy.uint64)
    bins = numpy.full((len(texts), BINS), EMPTY, numpy.uint16)
    counts = numpy.diff(ends, prepend=0)
    row = numpy.repeat(numpy.arange(len(texts)), counts)
    place = numpy.arange(len(words)) - numpy.repeat(ends - counts, counts)
    if len(words):
        _fill_bins(bins, words, row, place, numpy.repeat(counts, counts))
    return Fingerprints(full, bins)


def _words(text: bytes, sizes: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """`[words]` uint64 hash of each word, and `[rows]` int64 number of words up to the end of each row.

    A word is split into numbers of eight bytes; its hash is the sum of theirs.

    Args:
        text: all rows; each ends with a byte that belongs to no word.
        sizes: `[rows]`: size of each row in bytes, including that byte.
    """
    letters = b"\0" + text.translate(_LETTERS) + bytes(_WORD_BYTES)
    inside = numpy.frombuffer(letters, numpy.uint8) != 0
    edges = numpy.flatnonzero(inside[1:] != inside[:-1]) + 1
    first, length = edges[::2], edges[1::2] - edges[::2]
    ends = numpy.searchsorted(first, numpy.cumsum(sizes) + 1)
    if not len(first):
        return numpy.zeros(0, numpy.uint64), ends
    counts = -(-length // _WORD_BYTES)
    begins = numpy.cumsum(counts) - counts
    number = numpy.arange(counts.sum()) - numpy.repeat(begins, counts)
    offset = _WORD_BYTES * number
    eights = numpy.ndarray(len(letters) - _WORD_BYTES + 1, numpy.dtype("<u8"), letters, strides=(1,))
    values = eights[numpy.repeat(first, counts) + offset]
    values &= _BYTE_MASKS[numpy.minimum(_WORD_BYTES, numpy.repeat(length, counts) - offset)]
    return numpy.add.reduceat(mix_bits(values + number.astype(numpy.uint64) * _GROWTH), begins), ends


def _fill_bins(
    bins: numpy.ndarray, words: numpy.ndarray, row: numpy.ndarray, place: numpy.ndarray, counts: numpy.ndarray
) -> None:
    """Writes the lowest hash per bin and row into `bins`. A row shorter than a shingle is a single shingle."""
    runs = words.copy()
    for step in range(1, RUN):
        inside = row[step:] == row[:-step]
        longer = runs[:-step] * _GROWTH + words[step:]
        runs[:-step] = numpy.where(inside, longer, runs[:-step])
    runs = mix_bits(runs)
    is_complete = (counts - place >= RUN) | (place == 0)
    at = row[is_complete] * BINS + (runs[is_complete] % numpy.uint64(BINS)).astype(numpy.int64)
    lowest = (runs[is_complete] >> numpy.uint64(48)).astype(numpy.uint16)
    numpy.minimum.at(bins.reshape(-1), at, numpy.minimum(lowest, EMPTY - numpy.uint16(1)))


def mix_bits(numbers: numpy.ndarray) -> numpy.ndarray:
    """Mixes the bits of each number (the finalizer of SplitMix64, Steele et al. 2014).

    Args:
        numbers: uint64, of any shape.
    """
    numbers = (numbers ^ (numbers >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> numpy.uint64(31))


NEAR_DUPLICATE = 0.8
"""Share of common shingles from which on two rows are near duplicates."""
_BAND = 4
"""Bins per band: two rows are compared if they agree in all bins of a band (locality-sensitive hashing). Of pairs with
a similarity of 0.8, one in 4,600 shares none of the 16 bands."""
_MAX_PEERS = 33
"""Rows of one bucket that each row is compared with: enough to find any duplicate."""
_AT_ONCE = 8_192
"""Pairs per batch, so that their bins stay in the processor's cache."""
_MIN_FILLED_BINS = 8
"""Non-empty bins needed for a meaningful estimate; shorter rows are only checked for exact duplicates."""


def exact_duplicates(fingerprints: Fingerprints) -> numpy.ndarray:
    """`[rows]` int64: the first row with the same text; the row itself if there is none before it."""
    _, first, number = numpy.unique(fingerprints.full, return_index=True, return_inverse=True)
    return first[number]


def near_duplicates(fingerprints: Fingerprints) -> numpy.ndarray:
    """`[rows]` int64: an earlier row with nearly the same text; the row itself if none is found."""
    originals = numpy.arange(len(fingerprints.full))
    filled = numpy.empty(len(originals), numpy.uint64)
    for begin in range(0, len(filled), _AT_ONCE):
        filled[begin : begin + _AT_ONCE] = _packed(fingerprints.bins[begin : begin + _AT_ONCE] != EMPTY)
    for begin in range(0, BINS, _BAND):
        part = numpy.ascontiguousarray(fingerprints.bins[:, begin : begin + _BAND])
        candidates = numpy.flatnonzero((part != EMPTY).any(axis=1))
        keys = part.view(numpy.uint64)[:, 0]
        order = candidates[numpy.argsort(keys[candidates], kind="stable")]
        keys, is_open = keys[order], originals[order] == order
        for distance in range(1, min(_MAX_PEERS, len(order))):
            same = keys[distance:] == keys[:-distance]
            if not same.any():
                break
            place = numpy.flatnonzero(same & is_open[distance:])
            later, earlier = order[place + distance], order[place]
            is_near = _are_near(fingerprints.bins, filled, later, earlier)
            originals[later[is_near]] = earlier[is_near]
            is_open[place[is_near] + distance] = False
    return originals


def _are_near(bins: numpy.ndarray, filled: numpy.ndarray, some: numpy.ndarray, others: numpy.ndarray) -> numpy.ndarray:
    """`[pairs]` bool: whether the `agreement` of two rows makes them near duplicates, computed on bit masks.

    Args:
        bins: `[rows, BINS]`.
        filled: `[rows]` uint64: which bins are not empty, as bits.
        some, others: `[pairs]`: row indices.
    """
    is_near = numpy.empty(len(some), dtype=bool)
    for begin in range(0, len(some), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        either = filled[some[part]] | filled[others[part]]
        same = numpy.bitwise_count(_packed(bins[some[part]] == bins[others[part]]) & either)
        count = numpy.bitwise_count(either)
        is_near[part] = (count >= _MIN_FILLED_BINS) & (same / numpy.maximum(1, count) >= NEAR_DUPLICATE)
    return is_near


def _packed(flags: numpy.ndarray) -> numpy.ndarray:
    """Packs `[rows, BINS]` bool into `[rows]` uint64, one bit each."""
    return numpy.packbits(flags, axis=1).view(numpy.uint64)[:, 0]


def agreement(some: numpy.ndarray, others: numpy.ndarray) -> numpy.ndarray:
    """`[pairs]`: estimated share of shingles that two rows have in common; 0 if too few bins are filled.

    Args:
        some, others: `[pairs, BINS]` uint16.
    """
    either = (some != EMPTY) | (others != EMPTY)
    same = (some == others) & either
    count = either.sum(axis=1)
    return numpy.where(count >= _MIN_FILLED_BINS, same.sum(axis=1) / numpy.maximum(1, count), 0.0)
