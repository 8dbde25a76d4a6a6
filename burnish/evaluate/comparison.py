"""Base against tuned: the figures, their intervals and the verdict."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy

from burnish.evaluate.answers import Answer
from burnish.evaluate.intervals import Estimate, mean_loss, mean_loss_difference, proportion


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of both models."""

    name: str
    base: Estimate
    tuned: Estimate
    lower_is_better: bool
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
    held_out: str
    """Where the rows come from, in words."""
    figures: list[Figure] = field(default_factory=list)
    loss_difference: Estimate | None = None
    """Tuned minus base, paired by row."""
    answers: list[SideBySide] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """One sentence: better, worse, or no difference shown."""
        difference = self.loss_difference
        if difference is None:
            return "There are no held-out rows to judge by."
        rows = f"on {self.rows} held-out row{'s' if self.rows != 1 else ''}"
        if difference.high < 0:
            return f"The tuned model is better than the base {rows}: the loss fell by {-difference.value:.3f}."
        if difference.low > 0:
            return f"The tuned model is worse than the base {rows}: the loss rose by {difference.value:.3f}."
        return f"No difference between base and tuned model is shown {rows}."

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, with the verdict."""
        return _finite({**asdict(self), "verdict": self.verdict})


def _finite(value: Any) -> Any:
    """The same values with None for a bound that too few rows leave open; JSON has no infinity."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def loss_figures(base: numpy.ndarray, tuned: numpy.ndarray, counts: numpy.ndarray) -> tuple[list[Figure], Estimate]:
    """Loss and perplexity of both models, and the paired difference of the loss.

    Args:
        base: `[rows]`, summed loss of each row under the base model, in nats.
        tuned: the same under the tuned model.
        counts: `[rows]`, trained tokens of each row.
    """
    base_loss, tuned_loss = mean_loss(base, counts), mean_loss(tuned, counts)
    figures = [
        Figure("loss", base_loss, tuned_loss, lower_is_better=True, rows=len(counts)),
        Figure("perplexity", base_loss.exp(), tuned_loss.exp(), lower_is_better=True, rows=len(counts)),
    ]
    return figures, mean_loss_difference(base, tuned, counts)


def exact_match(base: list[Answer], tuned: list[Answer]) -> Figure:
    """Share of answers that are exactly right."""
    hits = [sum(answer.is_exact for answer in answers) for answers in (base, tuned)]
    shares = [proportion(right, len(base)) for right in hits]
    return Figure("exact match", *shares, lower_is_better=False, rows=len(base))


def side_by_side(base: list[Answer], tuned: list[Answer]) -> list[SideBySide]:
    """Both models' answers to each prompt."""
    return [SideBySide(b.prompt, b.expected, b.given, t.given, b.place) for b, t in zip(base, tuned, strict=True)]
