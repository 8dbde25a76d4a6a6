"""What is wrong with some rows of a file, how often, where first, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from itertools import islice
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
