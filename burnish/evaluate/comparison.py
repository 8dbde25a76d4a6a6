"""Base against tuned model: metrics, their intervals and the verdict."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy

from burnish.data.rows.records import Record, content_hash
from burnish.evaluate.figure import Figure
from burnish.evaluate.verdict import Evidence, Verdict, verdict_on
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
MEMORIZED = 0.25
"""Share by which what is left of the loss on training rows is below that on held-out rows, if rows are memorized."""


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
    """The task's main metric, by which checkpoints are chosen."""
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
    deciding: list[str] = field(default_factory=list)
    """Metrics of generated answers that the verdict is about; empty if it is about the headline."""
    unscored: int | None = None
    """Number of answers, if the task writes answers but too few were generated for a metric."""
    findings: dict[str, str] = field(default_factory=dict)
    """Evidence of diagnoses that hold at the end of the run, by name."""
    split: str = OTHER
    """Which rows these are: `test`, `validation`, or `other` for data that is not the run's."""
    sources: list[Any] = field(default_factory=list)
    """The figures of each of several sources of rows, as `SourceFigures`; empty for one source."""
    validation_sources: dict[str, list[float]] = field(default_factory=dict)
    """The validation loss of each source before training and at the step that is kept."""
    caveat: str = ""
    """What to know about the number and the split of the rows, in sentences; empty if there is nothing."""

    @property
    def conclusion(self) -> Verdict:
        """The verdict with its kind: what the user wants decides (see `verdict`), and the loss comes second."""
        names = self.deciding or [self.headline]
        found = {figure.name: figure for figure in self.figures}
        deciding = [found[name] for name in names if name in found]
        evidence = Evidence(
            deciding=deciding,
            loss=None if names == ["loss"] else found.get("loss"),
            rows=self._rows_in_words,
            answered=deciding[0].rows if self.deciding and deciding and deciding[0].rows < self.rows else None,
            wanted="the answers" if self.deciding else f"the {self.headline}",
            alone=self._alone if names == ["loss"] else "",
            forgotten=self.forgotten,
            findings=self.findings,
        )
        return verdict_on(evidence)

    @property
    def verdict(self) -> str:
        """One sentence: better, worse, or no difference shown; and others if the loss and the answers disagree, if the
        run went wrong, or if too much was forgotten.

        It is about the first of these that was measured: the user's own metric of answers; for known answers that are
        JSON, which answers are valid and equal; exact match, if the known answers are short or recur; ROUGE-L; the
        task's main metric, such as accuracy or F1; the loss.
        """
        return self.conclusion.text

    @property
    def _rows_in_words(self) -> str:
        rows = f"{self.rows} {self._row}{'s' if self.rows != 1 else ''}"
        return f"{rows} ({self.distinct} distinct)" if self.distinct else rows

    @property
    def _alone(self) -> str:
        if self.unscored is None:
            return ""
        many = {0: "no answers were", 1: "only one answer was"}.get(self.unscored, f"only {self.unscored} answers were")
        return f"This is based on the loss alone: {many} generated."

    @property
    def _row(self) -> str:
        return "row" if self.split == OTHER else f"{self.split} row"

    @property
    def losses(self) -> tuple[float | None, float | None]:
        """The loss of the base and of the tuned model; None where there were no rows."""
        found = [(figure.base.value, figure.tuned.value) for figure in self.figures if figure.name == "loss"]
        return found[0] if found else (None, None)

    @property
    def forgotten(self) -> str:
        """What was lost on other texts, in a sentence; empty if no substantial loss is shown."""
        if self.general is None or not self.general.is_forgotten:
            return ""
        base, rise = self.general.loss.base.value, self.general.loss.difference.value
        return (
            f"It has forgotten much of what the base model knew: on texts unrelated to the task the loss "
            f"rose from {base:.3f} to {base + rise:.3f} ({100 * rise / base:+.0f} %)."
        )

    @property
    def by_heart(self) -> str:
        """How much of the gain is memorization, in a sentence; empty if none is shown.

        A loss that falls further on training rows is no memorization yet: a model that moves into the domain of the
        data gains more where its base was worse. Memorized rows show in two more ways, of which one is enough. The
        model has become worse on held-out rows, in its loss or its answers. Or its training loss is far below its
        held-out loss, each as a share of the base's: rows that were easier from the start do not count.
        """
        losses = [[one for one in side if one.name == "loss"] for side in (self.training, self.figures)]
        if self.gap is None or not all(losses) or "underfitting" in self.findings:
            return ""
        training, held_out = (side[0] for side in losses)
        on_training, on_held_out = -training.difference.value, -held_out.difference.value
        if on_training <= 0 or self.gap.high >= 0 or -self.gap.value <= BY_HEART * on_training:
            return ""
        is_worse = any(one.is_worse for one in self.figures if one.name in ("loss", self.headline, *self.deciding))
        if not is_worse and _left(training) > (1 - MEMORIZED) * _left(held_out):
            return ""
        moved, rows = "fell" if on_held_out >= 0 else "rose", "these rows" if self.split == OTHER else f"{self._row}s"
        return (
            f"Part of the gain is memorization: the loss fell by {on_training:.3f}, to {training.tuned.value:.3f}, on "
            f"training rows and {moved} by {abs(on_held_out):.3f}, to {held_out.tuned.value:.3f}, on "
            f"{rows}. More rows or less training narrow the gap."
        )

    def add_validation(self, losses: dict[str, list[float]]) -> None:
        """Adds the validation loss of each source, before and after, and says it."""
        self.validation_sources = losses
        if losses:
            parts = [f"{name} {before:.3f} -> {after:.3f}" for name, (before, after) in losses.items()]
            self.note = f"{self.note} Validation loss by source: {', '.join(parts)}.".strip()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, with the verdict and the other sentences."""
        verdict = self.conclusion
        sentences = {
            "verdict": verdict.text,
            "verdict_kind": verdict.kind,
            "forgotten": self.forgotten,
            "by_heart": self.by_heart,
        }
        return finite({**asdict(self), **sentences})


def _left(loss: Figure) -> float:
    """What is left of the base's loss, as a share."""
    return loss.tuned.value / loss.base.value if loss.base.value > 0 else 1.0


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
