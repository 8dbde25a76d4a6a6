"""What is wrong with some rows: how often, where first, what to do; and the page that lists all defects."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

BLOCKS = "blocks"
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of defect."""

    name: str
    severity: str
    """`blocks`: training on it is useless or wrong. `warns`: it makes the result worse, or may do so."""
    what: str
    fix: str
    reasons: tuple[str, ...] = ()
    """Expressions by which rows that were left out are known to have it."""
    is_brief: bool = True
    """Whether a run tells of it before it begins."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A defect that was found."""

    kind: Kind
    count: int
    """Rows that have it, or labels."""
    places: tuple[str, ...]
    """The first of them, as `file:line`, with what was seen there."""

    @property
    def blocks(self) -> bool:
        """Whether training should not begin."""
        return self.kind.severity == BLOCKS

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "name": self.kind.name,
            "severity": self.kind.severity,
            "count": self.count,
            "places": list(self.places),
            "what": self.kind.what,
            "fix": self.kind.fix,
        }


@dataclass(slots=True)
class Tally:
    """Counts defects row by row."""

    counts: dict[str, int] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, place: str, seen: str = "") -> None:
        """Takes note of a row.

        Args:
            name: of the kind.
            place: `file:line`.
            seen: what is wrong there, in a few words.
        """
        self.add_many(name, 1, [(place, seen)])

    def add_many(self, name: str, count: int, told: Iterable[tuple[str, str]]) -> None:
        """Takes note of rows that have the same defect.

        Args:
            name: of the kind.
            count: of the rows.
            told: `file:line` of each and what is wrong there; no more of it is taken than will be named.
        """
        self.counts[name] = self.counts.get(name, 0) + count
        named = self.places.setdefault(name, [])
        named += [f"{place}: {seen}" if seen else place for place, seen in islice(told, _NAMED - len(named))]

    def join(self, later: Tally) -> None:
        """Takes in what was counted in rows that come after these."""
        for name, count in later.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
            named = self.places.setdefault(name, [])
            named += later.places[name][: _NAMED - len(named)]

    def findings(self) -> list[Finding]:
        """What was found, the worst first, in the order of the list of kinds."""
        known = kinds()
        order = {name: (kind.severity != BLOCKS, number) for number, (name, kind) in enumerate(known.items())}
        return [
            Finding(known[name], self.counts[name], tuple(self.places[name]))
            for name in sorted(self.counts, key=lambda name: order[name])
        ]


@cache
def kinds() -> dict[str, Kind]:
    """All kinds of defects, by name."""
    text = (resources.files("burnish") / "assets" / "defects.yaml").read_text(encoding="utf-8")
    return {one["name"]: Kind(**{**one, "reasons": tuple(one.get("reasons", ()))}) for one in yaml.safe_load(text)}


def kind_of(reason: str) -> str:
    """The name of the kind that a reason to leave a row out belongs to."""
    for kind in kinds().values():
        if any(re.search(pattern, reason) for pattern in kind.reasons):
            return kind.name
    return "left-out"


PAGE = Path("docs/checking.md")
_INTRODUCTION = """\
# Checking data

    burnish check rows.jsonl
    burnish check rows.jsonl --model path/to/a/model     tokens and special tokens of that model
    burnish check rows.jsonl --show 3                    the first rows as the model sees them, token by token
    burnish check rows.jsonl --html page.html            the same for the browser
    burnish check rows.jsonl --fix clean.jsonl           a cleaned file

All rows are read twice, a block at a time, so that a large file needs little memory: a few hundred bytes a row are
kept, to find rows that say the same or nearly the same (MinHash over runs of three words). What would take longer than
20 seconds is done on all cores ([measured](performance.md#checking-data)). The exit code is 2 where something was found
that should stop you. Lengths, what is learned, and what does not fit follow from the model's
tokenizer and the task, just as in a run; `data.context` and all other options of a recipe count here too.

`--fix` leaves out rows that cannot be used and rows that say the same as an earlier one, takes out control characters
and repairs text that was decoded by the wrong table. Every change stands in a file beside it, one line each. Nothing
else is touched: what is private, contradicting or out of order is for you to decide.

`burnish train` looks at the first 2,000 rows of each split before it begins, and tells what it found in one line;
what is marked (check only) is left to `burnish check`.

This page is made from `burnish/assets/defects.yaml` by `make docs`.
"""


def page() -> str:
    """The page: every kind of defect, those that block first."""
    parts = [_INTRODUCTION]
    for title, blocks in (("What should stop you", True), ("What to look at", False)):
        parts.append(f"## {title}\n\n| name | what | what to do |\n|---|---|---|")
        for kind in kinds().values():
            if (kind.severity == BLOCKS) == blocks:
                note = "" if kind.is_brief else " (check only)"
                parts[-1] += f"\n| `{kind.name}` | {kind.what}{note} | {kind.fix} |"
        parts[-1] += "\n"
    return "\n".join(parts)


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE).write_text(page(), encoding="utf-8")
