"""The place and the fingerprint of every row, in a few hundred bytes each."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence

import numpy

from burnish.check.duplicates import Fingerprints, compute_fingerprints, exact_duplicates, near_duplicates
from burnish.data.files.splits import CALLED, TEST
from burnish.data.files.splits import TRAIN as _TRAIN
from burnish.data.rows.records import Record

TRAIN = CALLED[_TRAIN]
_NAMES = {CALLED[_TRAIN]: "training"}
"""Splits whose rows are called otherwise than the split."""


_LINE_BITS = 40
"""Of a place as a number, which has the number of the file above those of the line."""


class RowsOfSameContent(Mapping[str, str]):
    """For the place of each row that repeats another one, what it repeats; kept as numbers.

    Args:
        seen: all rows.
        rows: `[repeated]`: those that repeat another one.
        originals: `[repeated]`: what each of them repeats.
    """

    def __init__(self, seen: SeenRows, rows: numpy.ndarray, originals: numpy.ndarray) -> None:
        keys = seen.keys(rows) if len(rows) else numpy.zeros(0, numpy.int64)
        order = numpy.argsort(keys, kind="stable")
        self._seen = seen
        self._keys, self._rows, self._originals = keys[order], rows[order], originals[order]

    def __getitem__(self, place: str) -> str:
        key = self._seen.key_of(place)
        at = int(numpy.searchsorted(self._keys, key, side="right")) - 1
        if at < 0 or self._keys[at] != key:
            raise KeyError(place)
        return f"has the same content as {self._seen.place(int(self._originals[at]))}"

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return (self._seen.place(int(row)) for row in self._rows)


class SeenRows:
    """Rows of all splits, in reading order."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._splits: dict[str, int] = {}
        self._decisions: dict[str, int] = {}
        self._file = array("i")
        self._line = array("q")
        self._split = array("b")
        self._decision = array("i")
        self._fingerprints: list[Fingerprints] = []
        self._contradiction = Record.contradiction
        self.same = RowsOfSameContent(self, numpy.zeros(0, numpy.int64), numpy.zeros(0, numpy.int64))
        """Training rows that repeat an earlier one, known once `repeated` has found them."""

    def __len__(self) -> int:
        return len(self._line)

    def add(self, split: str, records: Sequence[Record]) -> None:
        """Records some rows.

        Args:
            split: of these rows.
            records: the rows.
        """
        for record in records:
            file, _, line = record.place.rpartition(":")
            self._file.append(self._files.setdefault(file, len(self._files)))
            self._line.append(int(line))
            self._split.append(self._splits.setdefault(split, len(self._splits)))
            self._decision.append(self._decisions.setdefault(record.decision(), len(self._decisions)))
            self._contradiction = record.contradiction
        if records:
            self._fingerprints.append(compute_fingerprints([record.compared_text() for record in records]))

    def join(self, later: SeenRows) -> None:
        """Adds later rows."""
        self._line.extend(later._line)
        self._file.extend(_renumbered(later._file, later._files, self._files))
        self._split.extend(_renumbered(later._split, later._splits, self._splits))
        self._decision.extend(_renumbered(later._decision, later._decisions, self._decisions))
        self._fingerprints += later._fingerprints
        self._contradiction = later._contradiction if len(later) else self._contradiction

    def place(self, row: int) -> str:
        """`file:line` of a row."""
        return f"{list(self._files)[self._file[row]]}:{self._line[row]}"

    def repeated(self) -> Iterator[tuple[str, int, Iterator[tuple[str, str]]]]:
        """Rows that repeat an earlier one, exactly or nearly: kind of defect, count, and for each row its place and a
        description, generated lazily."""
        fingerprints = Fingerprints.taken_from(self._fingerprints)
        self._fingerprints = [fingerprints]
        here = numpy.arange(len(self))
        exact, near = exact_duplicates(fingerprints), near_duplicates(fingerprints)
        is_exact = exact != here
        decision = numpy.array(self._decision)
        has_same_decision = decision == decision[exact]
        leaks, nearly_leaks = self._are_leaks(exact), self._are_leaks(near)
        of_test = self._are_of_test(exact)
        is_near = (near != here) & ~is_exact
        for kind, has_it, originals, text in (
            ("shared-with-test", is_exact & leaks & of_test, exact, "as {}, a {} row"),
            ("shared-with-validation", is_exact & leaks & ~of_test, exact, "as {}, a {} row"),
            ("repeated", is_exact & ~leaks & has_same_decision, exact, "as {}"),
            (self._contradiction, is_exact & ~leaks & ~has_same_decision, exact, "as {}"),
            ("nearly-shared", is_near & nearly_leaks, near, "nearly as {}"),
            ("nearly-repeated", is_near & ~nearly_leaks, near, "nearly as {}"),
        ):
            rows = numpy.flatnonzero(has_it)
            if kind == "repeated":
                self.same = RowsOfSameContent(self, rows, originals[rows])
            if len(rows):
                yield kind, len(rows), self._described(rows, originals[rows], text)

    def keys(self, rows: numpy.ndarray) -> numpy.ndarray:
        """The numbers of the places of many rows."""
        return numpy.array(self._file, numpy.int64)[rows] << _LINE_BITS | numpy.array(self._line)[rows]

    def key_of(self, place: str) -> int:
        """The number of a place; -1 for one in a file without rows."""
        file, _, line = place.rpartition(":")
        number = self._files.get(file, -1)
        return number if number < 0 or not line.isdecimal() else number << _LINE_BITS | int(line)

    def _described(self, rows: numpy.ndarray, originals: numpy.ndarray, text: str) -> Iterator[tuple[str, str]]:
        """The place of each row, and a description that names its original."""
        for row, original in zip(rows, originals, strict=True):
            split = list(self._splits)[self._split[original]]
            yield self.place(row), text.format(self.place(original), _NAMES.get(split, split))

    def _are_leaks(self, originals: numpy.ndarray) -> numpy.ndarray:
        """`[rows]` bool: whether a row repeats one of another split."""
        splits = numpy.array(self._split)
        return splits != splits[originals]

    def _are_of_test(self, originals: numpy.ndarray) -> numpy.ndarray:
        """`[rows]` bool: whether a row or its original is of the test split."""
        tested = numpy.array(self._split) == self._splits.get(CALLED[TEST], -1)
        return tested | tested[originals]


def _renumbered(numbers: array[int], own: dict[str, int], known: dict[str, int]) -> array[int]:
    """Maps numbers of names in `own` to those in `known`, adding names that are new to `known`."""
    new = {number: known.setdefault(name, len(known)) for name, number in own.items()}
    return array(numbers.typecode, (new[number] for number in numbers))
