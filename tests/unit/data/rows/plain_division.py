"""Rows held out one object at a time: the plain form of `divide`, which works on columns."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field

from burnish.data.files.splits import TEST, VALID
from burnish.data.rows.division import _limits, _wanted, _why_no_test
from burnish.data.rows.records import content_hash
from burnish.recipe.schema import DataSection

_BINS = 5


@dataclass(frozen=True, slots=True)
class Keyed:
    """A record, and what must not be in two splits at once."""

    record: object
    key: str
    """Hash (hex) of its content, or of its group where rows have one."""


@dataclass(slots=True)
class _Unit:
    """Rows that stay together: duplicates, the rows of a group, or questions on one text."""

    key: str
    rows: int = 0
    contents: set[str] = field(default_factory=set)
    strata: set[str] = field(default_factory=set)
    stratum: str = ""
    """The rarest label of its rows."""

    @property
    def distinct(self) -> int:
        """Rows of different content."""
        return len(self.contents)


def plainly_divided(records, groups, section: DataSection, asked):
    """Training, validation and test records.

    Args:
        records: all that are given for training.
        groups: the group of each; empty if it has none.
        section: fractions, limits and the seed.
        asked: the splits to hold rows out for.
    """
    rows = [
        Keyed(record, hashlib.sha256(f"group:{group}".encode()).hexdigest() if group else content_hash(record))
        for record, group in zip(records, groups, strict=True)
    ]
    keys = unit_keys(rows)
    units = left = _units(rows, keys)
    distinct, held = sum(unit.distinct for unit in units), dict[str, set[str]]()
    for split, (fraction, most) in _limits(section).items():
        kept = 2 if split == TEST else 1
        if split not in asked or len(left) <= kept or (split == TEST and _why_no_test(distinct, len(units))):
            continue
        take = _take_in_shares if section.split == "stratified" else _take_at_random
        salt = f"{section.split_seed}" if split == VALID else f"test:{section.split_seed}"
        total = distinct if section.split == "stratified" else len(units)
        held[split] = take(left, _wanted(total, fraction, most, section.split), most, salt, len(left) - kept)
        left = [unit for unit in left if unit.key not in held[split]]
    parts = {name: [] for name in ("", VALID, TEST)}
    for row, key in zip(rows, keys, strict=True):
        parts[next((split for split, taken in held.items() if key in taken), "")].append(row.record)
    return list(parts.values())


def unit_keys(rows) -> list[str]:
    """For each row, a key that it shares with those that must stay on its side: its own, and for questions about a text
    that of the text, unless all are about one text or the rows have groups."""
    texts = [row.record.shared_text() for row in rows]
    is_grouped = any(row.key != content_hash(row.record) for row in rows)
    if is_grouped or None in texts or len(set(texts)) < 2:
        return [row.key for row in rows]
    return [hashlib.sha256(str(text).encode("utf-8")).hexdigest() for text in texts]


def _units(rows, keys) -> list[_Unit]:
    found: dict[str, _Unit] = {}
    bin_of = _bins([amount for row in rows if (amount := row.record.amount()) is not None])
    for row, key in zip(rows, keys, strict=True):
        unit = found.setdefault(key, _Unit(key))
        unit.rows += 1
        unit.contents.add(content_hash(row.record))
        amount = row.record.amount()
        unit.strata.update(row.record.strata() if amount is None else [bin_of(amount)])
    counts = Counter(stratum for unit in found.values() for stratum in unit.strata)
    for unit in found.values():
        unit.stratum = min(unit.strata, key=lambda stratum: (counts[stratum], stratum), default="")
    return list(found.values())


def _bins(amounts):
    """A function that names the bin of a number; the bins hold about as many of these numbers each."""
    amounts.sort()
    edges = [amounts[len(amounts) * number // _BINS] for number in range(1, _BINS)] if amounts else []
    return lambda amount: str(bisect_right(edges, amount))


def _take_in_shares(units, wanted: int, most: int, salt: str, limit: int) -> set[str]:
    """The keys of units with about `wanted` distinct rows together, each label in about the share that it has in all.

    The units of a label are spread over [0, 1) at equal distances, in an order drawn from the salt, and the first ones
    over all labels are taken. A label's last unit stays behind as long as there are others.

    Args:
        units: to choose from.
        wanted: distinct rows.
        most: rows, duplicates included.
        salt: decides the order.
        limit: units that may be taken.
    """
    strata: dict[str, list[_Unit]] = {}
    drawn = {unit.key: _draw(salt, unit.key) for unit in units}
    for unit in sorted(units, key=lambda unit: drawn[unit.key]):
        strata.setdefault(unit.stratum, []).append(unit)
    total = sum(unit.distinct for unit in units)
    placed: list[tuple[bool, float, bytes, _Unit]] = []
    for stratum, members in strata.items():
        size, before = sum(unit.distinct for unit in members), 0
        # a label that is due less than one row gets its place by chance, so that rare ones have their share together
        offset = 0.5 if size * wanted >= total else int.from_bytes(_draw(salt, stratum)[:6], "big") / 2**48
        for unit in members:
            is_last = unit is members[-1] and len(strata) > 1
            placed.append((is_last, (before + offset * unit.distinct) / size, drawn[unit.key], unit))
            before += unit.distinct
    placed.sort(key=lambda place: place[:3])
    return _first((unit for *_, unit in placed), wanted, most, limit) or {_smallest(units).key}


def _first(units, wanted: int, most: int, limit: int) -> set[str]:
    """The keys of the first units that bring the number of distinct rows nearer to the wanted one."""
    taken, distinct, rows = set[str](), 0, 0
    for unit in units:
        if unit.distinct <= 2 * (wanted - distinct) and rows + unit.rows <= most and len(taken) < limit:
            taken.add(unit.key)
            distinct, rows = distinct + unit.distinct, rows + unit.rows
            if distinct >= wanted:
                break
    return taken


def _take_at_random(units, wanted: int, most: int, salt: str, limit: int) -> set[str]:
    """The keys of so many units, whatever their labels; `most` is the limit of their rows."""
    wanted, taken, rows = min(wanted, limit), set[str](), 0
    for unit in sorted(units, key=lambda unit: _draw(salt, unit.key)):
        if len(taken) == wanted:
            break
        # one with too many duplicates is skipped, unless there is no other
        if rows + unit.rows <= most:
            taken.add(unit.key)
            rows += unit.rows
    return taken or {_smallest(units).key}


def _smallest(units) -> _Unit:
    return min(units, key=lambda unit: (unit.rows, unit.key))


def _draw(salt: str, key: str) -> bytes:
    return hashlib.sha256(f"{salt}:{key}".encode("utf-8", "surrogatepass")).digest()
