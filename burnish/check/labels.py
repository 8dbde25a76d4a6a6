"""Labels that are rare, lopsided, or spelled in two ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from burnish.check.finding import Tally

_FEW = 5
"""Rows below which a label is called rare."""
_MOST_SHARE = 0.95
_NAMED = 3


@dataclass(slots=True)
class LabelCounts:
    """How many rows have each label, and where each stands first."""

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, str] = field(default_factory=dict)

    def add(self, labels: tuple[str, ...], place: str) -> None:
        """Takes note of a row's labels."""
        self.rows += 1
        for label in set(labels):
            self.counts[label] += 1
            self.places.setdefault(label, place)

    def join(self, later: LabelCounts) -> None:
        """Takes in the labels of rows that come after these."""
        self.rows += later.rows
        self.counts.update(later.counts)
        self.places = later.places | self.places

    def told(self) -> str:
        """The commonest labels and their shares, in words; empty where there are none."""
        if not self.counts:
            return ""
        common = self.counts.most_common(_NAMED)
        named = ", ".join(f"{label} {100 * count / self.rows:.0f} %" for label, count in common)
        more = len(self.counts) - len(common)
        return f"{len(self.counts)}: {named}" + (f" and {more} more" if more else "")

    def tally(self, tally: Tally, is_single: bool) -> None:
        """Adds what is wrong with the labels.

        Args:
            tally: of the rows.
            is_single: whether every row has exactly one, so that shares tell something.
        """
        for label, count in sorted(self.counts.items(), key=lambda pair: pair[1]):
            if count < _FEW:
                tally.add("rare-labels", self.places[label], f"`{label}` has {count} row{'s' if count > 1 else ''}")
        if is_single and self.counts:
            label, count = self.counts.most_common(1)[0]
            if count > _MOST_SHARE * self.rows:
                tally.add("lopsided-labels", self.places[label], f"`{label}` in {100 * count / self.rows:.1f} %")
        for label, other in spelled_alike(self.counts):
            tally.add("labels-spelled-alike", self.places[label], f"`{label}` beside `{other}`")


def spelled_alike(counts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """(rarer spelling, commoner spelling) of labels that differ in capitals or blanks only."""
    common: dict[str, str] = {}
    for label in sorted(counts, key=lambda label: -counts[label]):
        plain = "".join(label.casefold().split())
        if plain in common:
            yield label, common[plain]
        else:
            common[plain] = label
