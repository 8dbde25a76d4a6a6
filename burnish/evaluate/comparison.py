"""Base against tuned model: metrics, their intervals and the verdict."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy

from burnish.data.rows.records import Record, content_hash
from burnish.metrics.intervals import Estimate, difference, estimate
from burnish.metrics.measure import Measure, MetricTable, grouped

OTHER = "other"
"""The `split` of rows that are not those of the run."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """Groups of rows with the same content."""

    rows: numpy.ndarray
    """`[rows]` int64: rows with the same number have the same content."""
    examples: numpy.ndarray
    """`[examples]` int64: the number of each example's row."""
    learned: numpy.ndarray | None = None
    """`[learned rows]` int64: the same for the rows with a term of the loss, if not all have one."""

    @property
    def distinct(self) -> int:
        """Number of distinct rows."""
        return int(self.rows.max()) + 1

    def merge(self, measure: Measure) -> Measure:
        """The same measure, with one line in its table for all rows of the same content."""
        for groups in (self.rows, self.examples, self.learned):
            if groups is not None and len(groups) == len(measure.table):
                return grouped(measure, groups)
        return measure


def merged(measure: Measure, repeats: Repeats | None) -> Measure:
    """`Repeats.merge` if there are repeats; otherwise the measure as it is."""
    return measure if repeats is None else repeats.merge(measure)


def repeats_among(keys: Sequence[Hashable]) -> Repeats | None:
    """The repeats among rows with these contents; None if all are distinct."""
    number: dict[Hashable, int] = {}
    groups = numpy.array([number.setdefault(key, len(number)) for key in keys], dtype=numpy.int64)
    return Repeats(groups, groups) if len(number) < len(groups) else None


def repeated_records(records: Sequence[Record], owners: Sequence[int], examples: Sequence[Any] = ()) -> Repeats | None:
    """The repeats among the evaluated records; None if all are distinct.

    Args:
        records: including those that were left out.
        owners: for each example, the number of its record.
        examples: the examples, if some have no term of the loss.
    """
    evaluated = sorted(set(owners))
    found = repeats_among([content_hash(records[row]) for row in evaluated])
    if found is None:
        return None
    with_terms = {owner for owner, example in zip(owners, examples, strict=False) if example.num_trained}
    learned = found.rows[[place for place, row in enumerate(evaluated) if row in with_terms]]
    _, learned = numpy.unique(learned, return_inverse=True)
    return Repeats(found.rows, found.rows[numpy.searchsorted(evaluated, owners)], learned if examples else None)


FORGOTTEN = 0.05
"""Share of the base's loss by which the loss on other texts must rise to count as forgetting. At 3 nats per token it
raises the perplexity by 16 %."""
BY_HEART = 0.2
"""Share of the gain on training rows that must be missing on held-out rows to count as memorized."""


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


@dataclass(frozen=True, slots=True)
class SideBySide:
    """One prompt, answered by both models."""

    prompt: str
    expected: str
    base: str
    tuned: str
    place: str


@dataclass(frozen=True, slots=True)
class GeneralText:
    """Both models on texts unrelated to the task."""

    source: str
    """The source of the texts, as text."""
    tokens: int
    loss: Figure
    """Mean loss per token, in nats; its rows are the texts."""

    @property
    def is_forgotten(self) -> bool:
        """Whether the loss rose significantly, and by more than `FORGOTTEN`."""
        rise = self.loss.difference
        return rise.low > 0 and rise.value > FORGOTTEN * self.loss.base.value


@dataclass(slots=True)
class Comparison:
    """What a run gained on test rows, how much of that is memorization, and what it forgot."""

    rows: int
    trained_tokens: int
    """Terms of the loss on these rows."""
    held_out: str
    """The source of the rows, as a phrase."""
    headline: str = "loss"
    """The metric that the verdict is about."""
    figures: list[Figure] = field(default_factory=list)
    tables: list[MetricTable] = field(default_factory=list)
    """Detailed metrics of the tuned model."""
    answers: list[SideBySide] = field(default_factory=list)
    note: str = ""
    """A remark on how to read the metrics."""
    training: list[Figure] = field(default_factory=list)
    """Loss and headline metric on as many training rows; empty if none are known."""
    gap: Estimate | None = None
    """Change of the loss on training rows minus that on these rows: below 0 if the former fell further."""
    general: GeneralText | None = None
    distinct: int | None = None
    """Number of distinct rows; None if all are."""
    harness: list[Figure] = field(default_factory=list)
    """Metrics of lm-evaluation-harness, if requested."""
    split: str = OTHER
    """Which rows these are: `test`, `validation`, or `other` for data that is not the run's."""
    caveat: str = ""
    """What to know about the number and the split of the rows, in sentences; empty if there is nothing."""

    @property
    def verdict(self) -> str:
        """One sentence: better, worse, or no difference shown; and a second one if too much was forgotten."""
        return f"{self._on_held_out_rows()} {self.forgotten}".rstrip()

    def _on_held_out_rows(self) -> str:
        figure = next((figure for figure in self.figures if figure.name == self.headline), None)
        if figure is None:
            return "There are no test or validation rows to evaluate on."
        rows = f"on {self.rows} {self._row}{'s' if self.rows != 1 else ''}"
        rows += f" ({self.distinct} distinct)" if self.distinct else ""
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

    @property
    def _row(self) -> str:
        return "row" if self.split == OTHER else f"{self.split} row"

    @property
    def forgotten(self) -> str:
        """What was lost on other texts, in a sentence; empty if no substantial loss is shown."""
        if self.general is None or not self.general.is_forgotten:
            return ""
        base, rise = self.general.loss.base.value, self.general.loss.difference.value
        return (
            f"It has forgotten much of what its base knew: on texts unrelated to the task the loss "
            f"rose from {base:.3f} to {base + rise:.3f} ({100 * rise / base:+.0f} %)."
        )

    @property
    def by_heart(self) -> str:
        """How much of the gain is memorization, in a sentence; empty if none is shown."""
        losses = [[one for one in side if one.name == "loss"] for side in (self.training, self.figures)]
        if self.gap is None or not all(losses):
            return ""
        on_training, on_held_out = (-side[0].difference.value for side in losses)
        if on_training <= 0 or self.gap.high >= 0 or -self.gap.value <= BY_HEART * on_training:
            return ""
        moved, rows = "fell" if on_held_out >= 0 else "rose", "these rows" if self.split == OTHER else f"{self._row}s"
        return (
            f"Part of the gain is memorization: the loss fell by {on_training:.3f} on training rows and {moved} by "
            f"{abs(on_held_out):.3f} on {rows}. More rows or fewer epochs narrow the gap."
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, with the verdict and the other sentences."""
        sentences = {"verdict": self.verdict, "forgotten": self.forgotten, "by_heart": self.by_heart}
        return finite({**asdict(self), **sentences})


def finite(value: Any) -> Any:
    """The same values with None for infinite bounds, which JSON cannot represent."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def make_figures(base: Sequence[Measure], tuned: Sequence[Measure], repeats: Repeats | None = None) -> list[Figure]:
    """Each metric of both models, with the paired difference.

    Args:
        base: the base model's measures.
        tuned: the tuned model's, in the same order and on the same rows.
        repeats: among the rows, if there are any.
    """
    return [_figure(before, after, repeats) for before, after in zip(base, tuned, strict=True)]


def _figure(base: Measure, tuned: Measure, repeats: Repeats | None) -> Figure:
    rows = len(base.table)
    base, tuned = merged(base, repeats), merged(tuned, repeats)
    return Figure(
        name=base.name,
        base=estimate(base),
        tuned=estimate(tuned),
        difference=difference(base, tuned),
        lower_is_better=not base.higher_is_better,
        is_share=base.is_share,
        rows=rows,
    )
