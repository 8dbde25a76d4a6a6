"""Where rows are and what they contain, in a few hundred bytes each."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import numpy

from burnish.check.duplicates import Fingerprints, compute_fingerprints, exact_duplicates, near_duplicates
from burnish.data.rows.records import Record

TRAIN = "train"


class SeenRows:
    """Rows of all splits, in the order in which they were read: those that are trained on first."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._splits: dict[str, int] = {}
        self._decisions: dict[str, int] = {}
        self._file = array("i")
        self._line = array("q")
        self._split = array("b")
        self._decision = array("i")
        self._prints: list[Fingerprints] = []
        self._contradiction = Record.contradiction

    def __len__(self) -> int:
        return len(self._line)

    def add(self, split: str, records: Sequence[Record]) -> None:
        """Takes note of some rows.

        Args:
            split: that they belong to.
            records: of them.
        """
        for record in records:
            file, _, line = record.place.rpartition(":")
            self._file.append(self._files.setdefault(file, len(self._files)))
            self._line.append(int(line))
            self._split.append(self._splits.setdefault(split, len(self._splits)))
            self._decision.append(self._decisions.setdefault(record.decision(), len(self._decisions)))
            self._contradiction = record.contradiction
        if records:
            self._prints.append(compute_fingerprints([record.compared_text() for record in records]))

    def join(self, later: SeenRows) -> None:
        """Takes in rows that come after these."""
        self._line.extend(later._line)
        self._file.extend(_renumbered(later._file, later._files, self._files))
        self._split.extend(_renumbered(later._split, later._splits, self._splits))
        self._decision.extend(_renumbered(later._decision, later._decisions, self._decisions))
        self._prints += later._prints
        self._contradiction = later._contradiction if len(later) else self._contradiction

    def place(self, row: int) -> str:
        """`file:line` of a row."""
        return f"{list(self._files)[self._file[row]]}:{self._line[row]}"

    def repeated(self) -> Iterator[tuple[str, int, Iterator[tuple[str, str]]]]:
        """Rows that say what an earlier one says, or nearly: kind of defect, how many, and of each where it stands and
        what was seen there, told as it is asked for."""
        prints = Fingerprints.join(self._prints)
        here = numpy.arange(len(self))
        exact, near = exact_duplicates(prints), near_duplicates(prints)
        is_exact = exact != here
        decision = numpy.array(self._decision)
        is_decided_alike = decision == decision[exact]
        leaks, nearly_leaks = self._are_leaks(exact), self._are_leaks(near)
        is_near = (near != here) & ~is_exact
        for kind, has_it, twins, told in (
            ("shared-with-validation", is_exact & leaks, exact, "as {}, which is trained on"),
            ("repeated", is_exact & ~leaks & is_decided_alike, exact, "as {}"),
            (self._contradiction, is_exact & ~leaks & ~is_decided_alike, exact, "as {}"),
            ("nearly-shared", is_near & nearly_leaks, near, "nearly as {}"),
            ("nearly-repeated", is_near & ~nearly_leaks, near, "nearly as {}"),
        ):
            rows = numpy.flatnonzero(has_it)
            if len(rows):
                yield kind, len(rows), self._told(rows, twins[rows], told)

    def _told(self, rows: numpy.ndarray, twins: numpy.ndarray, told: str) -> Iterator[tuple[str, str]]:
        """Where each row stands, and what is said of its twin."""
        for row, twin in zip(rows, twins, strict=True):
            yield self.place(row), told.format(self.place(twin))

    def _are_leaks(self, twins: numpy.ndarray) -> numpy.ndarray:
        """`[rows]` bool: whether a row to be judged on has its twin among those trained on."""
        trained = numpy.array(self._split) == self._splits.get(TRAIN, -1)
        return ~trained & trained[twins]


def _renumbered(numbers: array[int], own: dict[str, int], known: dict[str, int]) -> array[int]:
    """Numbers of names as others know them; names that they do not know yet are added to theirs."""
    new = {number: known.setdefault(name, len(known)) for name, number in own.items()}
    return array(numbers.typecode, (new[number] for number in numbers))
