"""Findings: which defect, how often, where, what to do; and the documentation page that lists all defects."""

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
_SHOWN = 3
_LINE = re.compile(r"(?P<file>.+?):(?P<line>\d+)(?:: (?P<seen>.*))?$", re.DOTALL)
"""A location that is a line of a file."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of defect."""

    name: str
    severity: str
    """`blocks`: training on it is useless or wrong. `warns`: it makes or may make the result worse."""
    what: str
    fix: str
    reasons: tuple[str, ...] = ()
    """Regular expressions that match the reasons of rows rejected for it."""
    is_brief: bool = True
    """Whether `burnish train` reports it before training."""
    is_chosen: bool = False
    """Whether whoever made the data left these rows out."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A defect found in the data."""

    kind: Kind
    count: int
    """Affected rows or labels."""
    places: tuple[str, ...]
    """The first locations, as `file:line`, with the text that shows it."""

    @property
    def blocks(self) -> bool:
        """Whether it should stop you from training."""
        return self.kind.severity == BLOCKS

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "name": self.kind.name,
            "severity": self.kind.severity,
            "count": self.count,
            "places": list(self.places),
            "lines": [
                found.groupdict("") | {"line": int(found["line"])} for found in map(_LINE.match, self.places) if found
            ],
            "what": self.kind.what,
            "fix": self.kind.fix,
        }


@dataclass(slots=True)
class Tally:
    """Counts defects row by row."""

    counts: dict[str, int] = field(default_factory=dict)
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, place: str, seen: str = "") -> None:
        """Counts a row.

        Args:
            name: the kind of defect.
            place: `file:line`.
            seen: the problem in a few words.
        """
        self.add_many(name, 1, [(place, seen)])

    def add_many(self, name: str, count: int, examples: Iterable[tuple[str, str]]) -> None:
        """Counts rows with the same defect.

        Args:
            name: the kind of defect.
            count: number of rows.
            examples: (`file:line`, problem) of each row; consumed only as far as they will be shown.
        """
        self.counts[name] = self.counts.get(name, 0) + count
        named = self.places.setdefault(name, [])
        named += [f"{place}: {seen}" if seen else place for place, seen in islice(examples, _SHOWN - len(named))]

    def join(self, later: Tally) -> None:
        """Adds the counts of the rows that come after these."""
        for name, count in later.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
            named = self.places.setdefault(name, [])
            named += later.places[name][: _SHOWN - len(named)]

    def findings(self) -> list[Finding]:
        """The findings, those that block first, in the order of the list of kinds."""
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
    """The kind of defect for the reason why a row was rejected."""
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

All rows are read twice, one block at a time, so that a large file needs little memory: a few hundred bytes per row are
kept to find exact and near duplicates (MinHash over runs of three words). Checks that would take longer than 20 seconds
use all cores ([measured](performance.md#checking-data)). The exit code is 2 if a finding should stop you. Lengths,
trained tokens and truncation are computed with the model's tokenizer and the task, just as in a run; `data.context` and
all other options of a recipe apply.

`--fix` removes unusable rows and exact duplicates, strips control characters, replaces line separators such as U+2028
by newlines and repairs text that was decoded with the wrong encoding. Every change is listed in a file beside it, one
per line. Nothing else is changed: private data, contradictions and turns out of order are for you to decide.

`burnish train` checks the first 2,000 rows of each split before training and reports its findings in one line. Checks
marked (check only) run only in `burnish check`.

`make docs` generates this page from `burnish/assets/defects.yaml`.
"""


def page() -> str:
    """The page as Markdown: every kind of defect, those that block first."""
    parts = [_INTRODUCTION]
    for title, blocks in (("What should stop you", True), ("What you should review", False)):
        parts.append(f"## {title}\n\n| name | what | what to do |\n|---|---|---|")
        for kind in kinds().values():
            if (kind.severity == BLOCKS) == blocks:
                note = "" if kind.is_brief else " (check only)"
                parts[-1] += f"\n| `{kind.name}` | {kind.what}{note} | {kind.fix} |"
        parts[-1] += "\n"
    return "\n".join(parts)


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE).write_text(page(), encoding="utf-8")
