"""Holds rows out of those given for training: by content, what belongs together on one side, labels in equal shares."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from burnish.data.files.splits import TEST, VALID
from burnish.data.rows.keyed import DIGEST, KeyedRows
from burnish.recipe.schema import NONE, DataSection

FEWEST_FOR_TEST = 10
"""With fewer distinct rows there is no test split: two or three rows would show nothing, and training needs them."""
_ENOUGH, _SHARE_OF_FEW = 20, 5
"""Of few rows, more than the stated fraction is held out: so many, as long as that is no more than one in five."""
_BINS = 5
"""Groups of rows with similar numbers, for rows that have a number instead of a label."""


@dataclass(frozen=True, slots=True)
class Division:
    """The rows given for training, divided; each part in the order of the file."""

    train: KeyedRows
    valid: KeyedRows
    test: KeyedRows
    why_no_test: str = ""
    """Why no test rows were held out although they were asked for, as a phrase; empty otherwise."""

    def of(self, split: str) -> KeyedRows:
        """The rows that were held out for a split."""
        return self.test if split == TEST else self.valid


@dataclass(frozen=True, slots=True)
class _Units:
    """Rows that stay together: duplicates, the rows of a group, or questions on one text; `[units]` each."""

    keys: numpy.ndarray
    """Digests."""
    rows: numpy.ndarray
    distinct: numpy.ndarray
    """Rows of different content."""
    strata: numpy.ndarray
    """The rarest label of the rows, as an index of `names`."""
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.keys)

    def taken(self, numbers: numpy.ndarray) -> _Units:
        """Some of them, by their numbers."""
        keys, rows, distinct, strata = self.keys[numbers], self.rows[numbers], self.distinct[numbers], self.strata
        return _Units(keys, rows, distinct, strata[numbers], self.names)


def divide(rows: KeyedRows, section: DataSection, asked: Sequence[str]) -> Division:
    """Holds out rows for the splits that have no data of their own.

    The test rows are taken first. Which rows they are depends on `data.split_seed`, the options of the test split and
    the content of the rows: neither on their order nor on anything that concerns validation.

    Args:
        rows: all that are given for training.
        section: fractions, limits and the seed.
        asked: the splits to hold rows out for, `VALID` and `TEST`.
    """
    keys, unit_of = numpy.unique(unit_keys(rows), return_inverse=True)
    units = _units(rows, keys, unit_of)
    distinct, held = int(units.distinct.sum()), dict[str, numpy.ndarray]()
    why_no_test = _why_no_test(distinct, len(units)) if TEST in asked else ""
    left = numpy.arange(len(units))
    for split, (fraction, most) in _limits(section).items():
        # rows stay for training, and for validation too while the test rows are taken
        kept = 2 if split == TEST else 1
        if split not in asked or len(left) <= kept or (split == TEST and why_no_test):
            continue
        take = _take_in_shares if section.split == "stratified" else _take_at_random
        salt = f"{section.split_seed}" if split == VALID else f"test:{section.split_seed}"
        total = distinct if section.split == "stratified" else len(units)
        wanted = _wanted(total, fraction, most, section.split)
        found = take(units.taken(left), wanted, most, salt, len(left) - kept)
        held[split] = left[found]
        left = numpy.delete(left, found)
    splits = ["", VALID, TEST]
    split_of = numpy.zeros(len(units), numpy.int8)
    for split, found in held.items():
        split_of[found] = splits.index(split)
    of_row = split_of[unit_of]
    train, valid, test = (rows.taken(numpy.flatnonzero(of_row == number)) for number in range(len(splits)))
    return Division(train, valid, test, why_no_test)


def planned_rows(distinct: int, section: DataSection, asked: Sequence[str]) -> dict[str, int]:
    """About how many rows `divide` holds out for each split, where no rows belong together.

    Args:
        distinct: rows of different content.
        section: fractions and limits.
        asked: the splits to hold rows out for.
    """
    has_none = {
        TEST: distinct < FEWEST_FOR_TEST or section.test == NONE or not section.test_fraction,
        VALID: distinct < 2,
    }
    return {
        split: _wanted(distinct, fraction, most, section.split)
        for split, (fraction, most) in reversed(_limits(section).items())
        if split in asked and not has_none[split]
    }


def _limits(section: DataSection) -> dict[str, tuple[float, int]]:
    """Fraction and most rows of each split, in the order in which they are taken."""
    return {
        TEST: (section.test_fraction, section.test_rows),
        VALID: (section.validation_fraction, section.validation_rows),
    }


def unit_keys(rows: KeyedRows) -> numpy.ndarray:
    """`[rows]`: for each row, a digest that it shares with those that must stay on its side: its own, and for questions
    about a text that of the text, unless all are about one text or the rows have groups."""
    texts = rows.texts
    if texts is None or rows.is_grouped or len(numpy.unique(texts)) < 2:
        return rows.keys
    return texts


def _why_no_test(distinct: int, units: int) -> str:
    if distinct < FEWEST_FOR_TEST:
        return f"{distinct} distinct row{'s are' if distinct != 1 else ' is'} too few to hold any out for it"
    if units < 3:
        return f"the rows belong to {units} group{'s' if units != 1 else ''} only, and a group is never divided"
    return ""


def _wanted(total: int, fraction: float, most: int, how: str) -> int:
    """How many to hold out of so many."""
    least = min(_ENOUGH, total // _SHARE_OF_FEW) if how == "stratified" else 0
    return max(1, min(max(round(fraction * total), least), most))


def _units(rows: KeyedRows, keys: numpy.ndarray, unit_of: numpy.ndarray) -> _Units:
    """The units of rows.

    Args:
        rows: all rows.
        keys: `[units]`, sorted.
        unit_of: `[rows]`: the unit of each row.
    """
    number = len(keys)
    distinct = numpy.ones(number, numpy.int64)
    if len(rows) and (rows.is_grouped or rows.texts is not None):
        _, content_of = numpy.unique(rows.contents, return_inverse=True)
        # as pairs, since the same content may be in several groups
        pairs = numpy.unique(unit_of * len(rows) + content_of)
        distinct = numpy.bincount(pairs // len(rows), minlength=number)
    names, rarest = _rarest_strata(rows, unit_of, number)
    return _Units(keys, numpy.bincount(unit_of, minlength=number), distinct, rarest, names)


def _rarest_strata(rows: KeyedRows, unit_of: numpy.ndarray, number: int) -> tuple[list[str], numpy.ndarray]:
    """Names of strata, and `[units]` int64: for each unit, which of them is the rarest of its rows; "" for none."""
    row_of, stratum_of, names = rows.strata()
    size = max(1, len(names))
    unit, stratum = numpy.divmod(numpy.unique(unit_of[row_of] * size + stratum_of), size)
    counts = numpy.bincount(stratum, minlength=size)
    order = sorted(range(len(names)), key=lambda index: (counts[index], names[index]))
    rank_of = numpy.zeros(size, numpy.int64)
    rank_of[order] = numpy.arange(len(order))
    rarest = numpy.full(number, len(order))
    numpy.minimum.at(rarest, unit, rank_of[stratum])
    return [*(names[index] for index in order), ""], rarest


def _take_in_shares(units: _Units, wanted: int, most: int, salt: str, limit: int) -> numpy.ndarray:
    """The numbers of units with about `wanted` distinct rows together, each label in about its share of all rows.

    The units of a label are spread over [0, 1) at equal distances, in an order drawn from the salt, and the first ones
    over all labels are taken. A label's last unit stays behind as long as there are others.

    Args:
        units: to choose from.
        wanted: distinct rows.
        most: rows, duplicates included.
        salt: decides the order.
        limit: units that may be taken.
    """
    order = drawn_order(salt, units.keys)
    together = numpy.argsort(units.strata[order], kind="stable")  # by label; of one label, in the order drawn
    strata, distinct = units.strata[order][together], units.distinct[order][together]
    begins = numpy.flatnonzero(numpy.diff(strata, prepend=-1))
    label = numpy.repeat(numpy.arange(len(begins)), numpy.diff(begins, append=len(strata)))
    sizes, total = numpy.add.reduceat(distinct, begins), int(distinct.sum())
    reached = numpy.cumsum(distinct) - distinct
    # a label that is due less than one row gets its place by chance, so that rare ones have their share together
    offsets = numpy.array([
        0.5 if size * wanted >= total else int.from_bytes(_draw(salt, units.names[int(stratum)])[:6], "big") / 2**48
        for size, stratum in zip(sizes.tolist(), strata[begins].tolist(), strict=True)
    ])  # fmt: skip
    places = (reached - reached[begins][label] + offsets[label] * distinct) / sizes[label]
    is_last = numpy.zeros(len(strata), numpy.bool_)
    is_last[[*(begins[1:] - 1), len(strata) - 1]] = len(begins) > 1
    placed = order[together[numpy.lexsort((together, places, is_last))]]
    return _first(units, placed, wanted, most, limit)


def _first(units: _Units, placed: numpy.ndarray, wanted: int, most: int, limit: int) -> numpy.ndarray:
    """The first units that bring the number of distinct rows nearer to the wanted one; the smallest if none does."""
    taken, distinct, rows = list[int](), 0, 0
    for number in placed:
        more, size = int(units.distinct[number]), int(units.rows[number])
        if more <= 2 * (wanted - distinct) and rows + size <= most and len(taken) < limit:
            taken.append(int(number))
            distinct, rows = distinct + more, rows + size
            if distinct >= wanted:
                break
    return numpy.array(taken or [_smallest(units)])


def _take_at_random(units: _Units, wanted: int, most: int, salt: str, limit: int) -> numpy.ndarray:
    """The numbers of so many units, whatever their labels; `most` is the limit of their rows."""
    wanted, taken, rows = min(wanted, limit), list[int](), 0
    for number in drawn_order(salt, units.keys):
        if len(taken) == wanted:
            break
        # one with too many duplicates is skipped, unless there is no other
        size = int(units.rows[number])
        if rows + size <= most:
            taken.append(int(number))
            rows += size
    return numpy.array(taken or [_smallest(units)])


def _smallest(units: _Units) -> int:
    fewest = numpy.flatnonzero(units.rows == units.rows.min())
    return min(fewest.tolist(), key=lambda number: units.keys[number])


def drawn_order(salt: str, keys: numpy.ndarray) -> numpy.ndarray:
    """`[units]`: an order of units that depends on the salt and on each key alone."""
    digests = keys.tobytes()
    size = keys.itemsize
    drawn = bytearray()
    for begin in range(0, len(digests), size):
        drawn += _draw(salt, digests[begin : begin + size].hex())
    return numpy.argsort(numpy.frombuffer(drawn, DIGEST), kind="stable")


def _draw(salt: str, key: str) -> bytes:
    return hashlib.sha256(f"{salt}:{key}".encode("utf-8", "surrogatepass")).digest()
