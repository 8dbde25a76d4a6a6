"""Where rows stand and what they say, in a few hundred bytes each; and which of them say the same."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import numpy

from burnish.check.duplicates import exact_twins, near_twins
from burnish.check.prints import Prints, take_prints
from burnish.check.texts import compared_text, decided
from burnish.data.records import PreferenceRecord, Record

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
        self._prints: list[Prints] = []
        self._has_pairs = False

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
            self._decision.append(self._decisions.setdefault(decided(record), len(self._decisions)))
            self._has_pairs = self._has_pairs or isinstance(record, PreferenceRecord)
        if records:
            self._prints.append(take_prints([compared_text(record) for record in records]))

    def join(self, later: SeenRows) -> None:
        """Takes in rows that come after these."""
        self._line.extend(later._line)
        self._file.extend(_renumbered(later._file, later._files, self._files))
        self._split.extend(_renumbered(later._split, later._splits, self._splits))
        self._decision.extend(_renumbered(later._decision, later._decisions, self._decisions))
        self._prints += later._prints
        self._has_pairs = self._has_pairs or later._has_pairs

    def place(self, row: int) -> str:
        """`file:line` of a row."""
        return f"{list(self._files)[self._file[row]]}:{self._line[row]}"

    def repeated(self) -> Iterator[tuple[str, str, str]]:
        """(kind of defect, place, what was seen) of rows that say what an earlier one says, or nearly."""
        prints = Prints.join(self._prints)
        here = numpy.arange(len(self))
        exact, near = exact_twins(prints), near_twins(prints)
        is_exact = exact != here
        for has_twin, twins, tell in (
            (is_exact, exact, self._as_exact),
            ((near != here) & ~is_exact, near, self._as_near),
        ):
            rows = numpy.flatnonzero(has_twin)
            for row, twin in zip(rows.tolist(), twins[rows].tolist(), strict=True):
                yield tell(row, twin)

    def _as_exact(self, row: int, first: int) -> tuple[str, str, str]:
        place, told = self.place(row), f"as {self.place(first)}"
        if self._is_leak(row, first):
            return "shared-with-validation", place, f"{told}, which is trained on"
        if self._decision[row] == self._decision[first]:
            return "repeated", place, told
        return "contradicting-pairs" if self._has_pairs else "contradicting-labels", place, told

    def _as_near(self, row: int, twin: int) -> tuple[str, str, str]:
        told = f"nearly as {self.place(twin)}"
        return "nearly-shared" if self._is_leak(row, twin) else "nearly-repeated", self.place(row), told

    def _is_leak(self, row: int, twin: int) -> bool:
        """Whether a row to be judged on has its twin among those trained on."""
        trained = self._splits.get(TRAIN, -1)
        return self._split[row] != trained and self._split[twin] == trained


def _renumbered(numbers: array[int], own: dict[str, int], known: dict[str, int]) -> array[int]:
    """Numbers of names as others know them; names that they do not know yet are added to theirs."""
    new = {number: known.setdefault(name, len(known)) for name, number in own.items()}
    return array(numbers.typecode, (new[number] for number in numbers))
