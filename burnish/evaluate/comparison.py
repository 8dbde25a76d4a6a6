"""Base against tuned: the figures, their intervals and the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from burnish.metrics.intervals import Estimate, difference, estimate
from burnish.metrics.measure import Measure
from burnish.metrics.table import MetricTable


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of both models."""

    name: str
    base: Estimate
    tuned: Estimate
    difference: Estimate
    """Tuned minus base, paired by row."""
    lower_is_better: bool
    is_share: bool
    rows: int
    """Rows that it was measured on."""


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One prompt, answered by both models."""

    prompt: str
    expected: str
    base: str
    tuned: str
    place: str


@dataclass(slots=True)
class Comparison:
    """What a run has gained, on rows it was not trained on."""

    rows: int
    trained_tokens: int
    """Terms of the loss on these rows."""
    held_out: str
    """Where the rows come from, in words."""
    headline: str = "loss"
    """The figure that the verdict is about."""
    figures: list[Figure] = field(default_factory=list)
    tables: list[MetricTable] = field(default_factory=list)
    """Finer figures of the tuned model."""
    answers: list[SideBySide] = field(default_factory=list)
    note: str = ""
    """What one must know to read the figures."""

    @property
    def verdict(self) -> str:
        """One sentence: better, worse, or no difference shown."""
        figure = next((figure for figure in self.figures if figure.name == self.headline), None)
        if figure is None:
            return "There are no held-out rows to judge by."
        rows = f"on {self.rows} held-out row{'s' if self.rows != 1 else ''}"
        gain = figure.difference
        better, worse = (gain.high < 0, gain.low > 0) if figure.lower_is_better else (gain.low > 0, gain.high < 0)
        if not better and not worse:
            return f"No difference between base and tuned model is shown {rows}."
        by = f"{100 * abs(gain.value):.1f} points" if figure.is_share else f"{abs(gain.value):.3f}"
        moved = "rose" if gain.value > 0 else "fell"
        return (
            f"The tuned model is {'better' if better else 'worse'} than the base {rows}: "
            f"the {figure.name} {moved} by {by}."
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, with the verdict."""
        return _finite({**asdict(self), "verdict": self.verdict})


def _finite(value: Any) -> Any:
    """The same values with None for a bound that too few rows leave open; JSON has no infinity."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def make_figures(base: Sequence[Measure], tuned: Sequence[Measure]) -> list[Figure]:
    """Each figure of both models, with the paired difference.

    Args:
        base: the base model's figures.
        tuned: the tuned model's, in the same order and on the same rows.
    """
    return [
        Figure(
            name=before.name,
            base=estimate(before),
            tuned=estimate(after),
            difference=difference(before, after),
            lower_is_better=not before.higher_is_better,
            is_share=before.is_share,
            rows=len(before.table),
        )
        for before, after in zip(base, tuned, strict=True)
    ]
