"""A metric of base and tuned model, and whether it has become better."""

from __future__ import annotations

import math
from dataclasses import dataclass

from burnish.metrics.intervals import Estimate

_WITH_ARTICLE = ("loss", "perplexity")
_WIDE = 0.1
"""Half-width of an interval, in points or as a share of the base's value, that could hide a change worth having."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric of both models."""

    name: str
    base: Estimate
    tuned: Estimate
    difference: Estimate
    """Tuned minus base, paired by row."""
    lower_is_better: bool
    is_share: bool
    rows: int
    """Number of rows it was measured on."""

    @property
    def is_better(self) -> bool:
        """Whether it has become better, beyond the interval."""
        return self.difference.high < 0 if self.lower_is_better else self.difference.low > 0

    @property
    def is_worse(self) -> bool:
        """Whether it has become worse, beyond the interval."""
        return self.difference.low > 0 if self.lower_is_better else self.difference.high < 0

    @property
    def is_wide(self) -> bool:
        """Whether the interval is so wide that a change worth having may hide in it."""
        half = (self.difference.high - self.difference.low) / 2
        return not half <= _WIDE * (1.0 if self.is_share else abs(self.base.value))

    @property
    def _called(self) -> str:
        """The metric in a sentence."""
        return f"the {self.name}" if self.name in _WITH_ARTICLE else self.name

    @property
    def moved(self) -> str:
        """`exact match rose by 12.3 points`, or `the loss fell by 0.123`."""
        change = self.difference.value
        by = f"{100 * abs(change):.1f} points" if self.is_share else f"{abs(change):.3f}"
        return f"{self._called} {'rose' if change > 0 else 'fell'} by {by}"

    @property
    def before_and_after(self) -> str:
        """`exact match 20.0 % before and 22.0 % after`."""
        values = (self.base.value, self.tuned.value)
        before, after = (f"{100 * one:.1f} %" if self.is_share else f"{one:.3f}" for one in values)
        return f"{self.name} {before} before and {after} after"

    @property
    def changed(self) -> str:
        """`exact match changed by +5.0 points (95 % interval -10.0 to +20.0)`; no interval for a single row."""
        scale, unit, digits = (100, " points", 1) if self.is_share else (1, "", 3)
        value, low, high = (
            f"{scale * one:+.{digits}f}" for one in (self.difference.value, self.difference.low, self.difference.high)
        )
        interval = f" (95 % interval {low} to {high})" if math.isfinite(self.difference.high) else ""
        return f"{self._called} changed by {value}{unit}{interval}"
