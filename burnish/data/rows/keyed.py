"""Records with what decides about their split, in columns: what must not be in two splits, labels, numbers."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from burnish.data.rows.disk import Disk
from burnish.data.rows.packed import Gathering, Packed
from burnish.data.rows.records import Record, content_hash

DIGEST = "S32"
"""Type of a column of SHA-256 digests. Two are equal, and in order, as their bytes are: all have the same length."""
_BINS = 5
"""Groups of rows with similar numbers, for rows that have a number instead of a label."""


@dataclass(frozen=True, slots=True)
class KeyedRows:
    """Records and columns of their properties, `[rows]` each."""

    records: Sequence[Record]
    contents: numpy.ndarray
    """Digests of the content."""
    keys: numpy.ndarray
    """Digests of what must not be in two splits: the group of a row, or its content if it has none. The same array as
    `contents` where no row has a group."""
    texts: numpy.ndarray | None
    """Digests of the texts that other rows may ask about, too; None if a row has no such text."""
    labels: numpy.ndarray
    """The labels of each row, as an index of `label_sets`."""
    label_sets: Sequence[tuple[str, ...]]
    amounts: numpy.ndarray
    """The number that is learned; NaN for a row without."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def is_grouped(self) -> bool:
        """Whether any row has a group."""
        return self.keys is not self.contents

    def taken(self, numbers: numpy.ndarray) -> KeyedRows:
        """Some of the rows, by their numbers."""
        records, texts = self.records, None if self.texts is None else self.texts[numbers]
        chosen = records.taken(numbers) if isinstance(records, Packed) else [records[at] for at in numbers.tolist()]
        labels, amounts, contents = self.labels[numbers], self.amounts[numbers], self.contents[numbers]
        keys = self.keys[numbers] if self.is_grouped else contents
        return KeyedRows(chosen, contents, keys, texts, labels, self.label_sets, amounts)

    def strata(self) -> tuple[numpy.ndarray, numpy.ndarray, list[str]]:
        """What every split has in about equal shares: a label, or a bin of similar numbers.

        Returns:
            `[pairs]` rows, `[pairs]` strata of these rows, as an index of the names, and the names. A row may be in
            several pairs, or in none.
        """
        names = list(dict.fromkeys(name for names in self.label_sets for name in names))
        index = {name: number for number, name in enumerate(names)}
        flat = numpy.array([index[name] for names in self.label_sets for name in names], numpy.int64)
        sizes = numpy.array([len(names) for names in self.label_sets], numpy.int64)
        has_amount = ~numpy.isnan(self.amounts)
        labelled = numpy.flatnonzero(~has_amount)
        labels = self.labels[labelled]
        counts = sizes[labels]
        begins, ends = (numpy.cumsum(sizes) - sizes)[labels], numpy.cumsum(counts)
        places = numpy.arange(int(counts.sum())) + numpy.repeat(begins - (ends - counts), counts)
        amounts = self.amounts[has_amount]
        edges = numpy.sort(amounts)[[len(amounts) * number // _BINS for number in range(1, _BINS) if len(amounts)]]
        bins = len(names) + numpy.searchsorted(edges, amounts, side="right")
        rows = numpy.concatenate([numpy.repeat(labelled, counts), numpy.flatnonzero(has_amount)])
        return rows, numpy.concatenate([flat[places], bins]), [*names, *map(str, range(_BINS if len(amounts) else 0))]


class Keying:
    """Collects records into `KeyedRows`.

    Args:
        disk: where the records are kept; None for memory.
    """

    def __init__(self, disk: Disk | None = None) -> None:
        self._records = Gathering[Record](disk=disk)
        self._contents, self._texts = bytearray(), bytearray()
        self._groups: dict[int, bytes] = {}
        """The keys of the rows that have a group, by their number."""
        self._labels, self._amounts = array("q"), array("d")
        self._label_sets: dict[tuple[str, ...], int] = {}

    def add(self, record: Record, group: str = "", source: str = "") -> None:
        """Adds a record.

        Args:
            record: with its labels, or its number.
            group: of the rows that stay in one split with it; empty if it has none.
            source: of several, of which every split gets its share; empty if there is one.
        """
        if group:
            self._groups[len(self._labels)] = _hash(f"group:{group}")
        self._contents += bytes.fromhex(content_hash(record))
        if (text := record.shared_text()) is not None:
            self._texts += _hash(text)
        amount = record.amount()
        labels = record.strata() if amount is None else ()
        if source and amount is None:
            labels = tuple(f"{label}\0{source}" for label in labels or ("",))
        self._labels.append(self._label_sets.setdefault(labels, len(self._label_sets)))
        self._amounts.append(float("nan") if amount is None else amount)
        self._records.add(record)

    def done(self) -> KeyedRows:
        """All records in order. Call once."""
        contents, texts = (numpy.frombuffer(column, DIGEST) for column in (self._contents, self._texts))
        keys = contents
        if self._groups:
            keys = contents.copy()
            keys[list(self._groups)] = list(self._groups.values())
        return KeyedRows(
            self._records.done(),
            contents,
            keys,
            texts if len(texts) == len(keys) else None,
            numpy.array(self._labels, numpy.int64),
            list(self._label_sets),
            numpy.array(self._amounts, numpy.float64),
        )


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
