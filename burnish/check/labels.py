"""Checks of labels (rare, imbalanced, spelled inconsistently), of the order of turns, and of the number of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish.check.finding import Tally
from burnish.check.rows import TRAIN
from burnish.data.labels.spellings import meaning_of, renaming
from burnish.tasks.task import Task

_MIN_ROWS = 5
"""A label with fewer rows is rare."""
_MAX_SHARE = 0.95
_SHOWN = 3


@dataclass(slots=True)
class LabelCounts:
    """Number of rows per label, and where each label occurs first."""

    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, str] = field(default_factory=dict)
    trained: set[str] = field(default_factory=set)
    """Labels of the training rows."""
    held_out: Counter[str] = field(default_factory=Counter)
    """Number of rows of the other splits per label."""

    def add(self, labels: tuple[str, ...], place: str, split: str = TRAIN) -> None:
        """Counts a row's labels."""
        self.rows += 1
        for label in dict.fromkeys(labels):  # in order, so that a summary is the same in every process
            self.counts[label] += 1
            self.places.setdefault(label, place)
        if split == TRAIN:
            self.trained.update(labels)
        else:
            self.held_out.update(dict.fromkeys(labels, 1))

    def join(self, later: LabelCounts) -> None:
        """Adds the labels of the rows that come after these."""
        self.rows += later.rows
        self.counts.update(later.counts)
        self.places = later.places | self.places
        self.trained |= later.trained
        self.held_out.update(later.held_out)

    def summary(self) -> str:
        """The most common labels and their shares as a phrase; empty if there are none."""
        if not self.counts:
            return ""
        common = self.counts.most_common(_SHOWN)
        named = ", ".join(f"{label} {100 * count / self.rows:.0f} %" for label, count in common)
        more = len(self.counts) - len(common)
        return f"{len(self.counts)}: {named}" + (f" and {more} more" if more else "")

    def tally(self, tally: Tally, is_single: bool) -> None:
        """Adds the problems of the labels.

        Args:
            tally: the counts to add to.
            is_single: whether every row has exactly one label, so that shares are meaningful.
        """
        for label in sorted(self.held_out):
            if label not in self.trained:
                count = self.held_out[label]
                tally.add("unseen-labels", self.places[label], f"`{label}` has {count:,} row{'s' if count > 1 else ''}")
        for label, count in sorted(self.counts.items(), key=lambda pair: pair[1]):
            if count < _MIN_ROWS:
                tally.add("rare-labels", self.places[label], f"`{label}` has {count} row{'s' if count > 1 else ''}")
        if is_single and self.counts:
            label, count = self.counts.most_common(1)[0]
            if count > _MAX_SHARE * self.rows:
                tally.add("lopsided-labels", self.places[label], f"`{label}` in {100 * count / self.rows:.1f} %")
        for label, other in spelled_alike(self.counts):
            tally.add(
                "labels-spelled-alike", self.places[label], f"`{label}` beside `{other}`: {renaming({label: other})}"
            )


def spelled_alike(counts: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """Yields (rarer spelling, more common spelling) of labels that differ only in case, spaces or notation.

    A notation is how true and false are written: `1` beside `true`.
    """
    common: dict[str, str] = {}
    for label in sorted(counts, key=lambda label: -counts[label]):
        plain = "".join(label.casefold().split())
        if len(plain) > 1 or plain.isdecimal():  # single letters are classes of their own as often
            plain = meaning_of(plain) or plain
        if plain in common:
            yield label, common[plain]
        else:
            common[plain] = label


def odd_turns(messages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yields (kind of defect, the problem in words) for the messages of a row."""
    roles = [message["role"] for message in messages]
    if "system" in roles[1:]:
        yield "turns-out-of-order", f"message {roles.index('system', 1) + 1} is a system message after others"
        return
    turns = [(number, role) for number, role in enumerate(roles, start=1) if role != "system"]
    if turns and turns[0][1] == "assistant":
        yield "turns-out-of-order", "the assistant comes first"
        return
    for (_, before), (number, role) in zip(turns, turns[1:], strict=False):
        if before == role and role in ("user", "assistant"):
            yield "turns-out-of-order", f"messages {number - 1} and {number} both have the role {role}"
            return
        if role == "tool" and before == "user":
            yield "turns-out-of-order", f"message {number} is a tool result without a tool call"
            return


_TOO_SMALL_FACTOR = 10
"""A dataset with this many times fewer rows than usual is reported as a defect."""


def usual_size(task: Task) -> str:
    """The usual number of rows as a phrase; empty if unknown."""
    if task.usual_rows is None:
        return ""
    least, most = task.usual_rows
    return f"{least:,} to {most:,} are usual for `{task.name}`"


def is_far_too_small(task: Task, rows: int) -> bool:
    """Whether a number of rows is far below the usual."""
    return task.usual_rows is not None and rows * _TOO_SMALL_FACTOR < task.usual_rows[0]
