"""What a validation gave for each row, kept so that later ones can be held against it row by row."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

from burnish.metrics.intervals import Estimate, difference
from burnish.metrics.measure import Measure

FEWEST_ROWS = 5
"""Of fewer rows there are so few different draws (35 of 4) that an interval over draws says next to nothing."""


@dataclass(slots=True)
class Sheet:
    """The rows of one validation, in a form that JSON holds."""

    step: int
    loss: float
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    """For each measure its table, packed."""

    @classmethod
    def of(cls, step: int, loss: float, measures: Sequence[Measure]) -> Sheet:
        """What a validation gave; empty where it had too few rows to be compared."""
        kept = {one.name: _packed(one.table) for one in measures if len(one.table) >= FEWEST_ROWS}
        return cls(step, loss, kept)

    def change(self, later: Measure) -> Estimate | None:
        """A later measure minus the same one here, paired by row, with its 95 % interval.

        Returns:
            None where one of the two has too few rows, or the rows are not the same number.
        """
        kept = self.tables.get(later.name)
        if kept is None or kept["rows"] != len(later.table):
            return None
        before = Measure(later.name, _unpacked(kept), later.formula, later.higher_is_better, later.is_share)
        return difference(before, later)

    def is_beaten_by(self, later: Sequence[Measure]) -> bool | None:
        """Whether some measure is better later, beyond the 95 % interval of the paired difference.

        Returns:
            None where the rows are too few to tell.
        """
        changes = [(one, self.change(one)) for one in later]
        told = [change.low > 0 if one.higher_is_better else change.high < 0 for one, change in changes if change]
        return any(told) if told else None


def _packed(table: numpy.ndarray) -> dict[str, Any]:
    content = zlib.compress(numpy.ascontiguousarray(table, dtype="<f8").tobytes())
    return {"rows": len(table), "packed": base64.b85encode(content).decode("ascii")}


def _unpacked(kept: dict[str, Any]) -> numpy.ndarray:
    """`[rows, k]` float64."""
    content = zlib.decompress(base64.b85decode(kept["packed"]))
    return numpy.frombuffer(content, dtype="<f8").reshape(kept["rows"], -1)
