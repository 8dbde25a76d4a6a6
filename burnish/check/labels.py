"""Labels that are rare, lopsided or spelled in two ways; turns out of order; how many rows a task needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish.check.finding import Tally
from burnish.tasks.task import Task

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


def odd_turns(messages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """(kind of defect, what was seen) for the messages of a row, as they were read."""
    roles = [message["role"] for message in messages]
    if "system" in roles[1:]:
        yield "turns-out-of-order", f"message {roles.index('system', 1) + 1} is the system's, behind others"
        return
    spoken = [(number, role) for number, role in enumerate(roles, start=1) if role != "system"]
    if spoken and spoken[0][1] == "assistant":
        yield "turns-out-of-order", "the assistant speaks first"
        return
    for (_, before), (number, role) in zip(spoken, spoken[1:], strict=False):
        if before == role and role in ("user", "assistant"):
            yield "turns-out-of-order", f"messages {number - 1} and {number} are both the {role}'s"
            return
        if role == "tool" and before == "user":
            yield "turns-out-of-order", f"message {number} is a tool's result that nobody asked for"
            return


_FAR_FEWER = 10
"""A set that has so many times fewer rows than usual is told of as a defect."""


def usual_size(task: Task) -> str:
    """What is usual, in words; empty where nothing is known."""
    if task.usual_rows is None:
        return ""
    least, most = task.usual_rows
    return f"{least:,} to {most:,} are usual for `{task.name}`"


def is_far_too_small(task: Task, rows: int) -> bool:
    """Whether a number of rows is far below what is usual."""
    return task.usual_rows is not None and rows * _FAR_FEWER < task.usual_rows[0]
