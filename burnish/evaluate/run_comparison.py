"""Compares runs: their metrics, which differences are beyond the noise, and the verdict as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy

from burnish.data.rows.records import Record
from burnish.evaluate.comparison import finite
from burnish.evaluate.noise import ComparedFigure, RecipePair, TrainingNoise, run_noise
from burnish.lineage.recipe_differences import OptionDifference
from burnish.metrics.measure import Measure, ratio, value
from burnish.metrics.significance import Change, Noise
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.task import Scorer

FEWEST_ROWS = 10
"""With fewer rows, intervals cover the true value less often than stated."""
FEW_ROWS = 30
"""With fewer rows, intervals are so wide that only large differences can be shown."""
_MOST_LEFT_OUT = 0.1
PER_BYTE = "loss per byte"


@dataclass(frozen=True, slots=True)
class RunScore:
    """One run on the shared rows."""

    sums: numpy.ndarray
    """`[rows]` float64: summed loss of each row, in nats."""
    counts: numpy.ndarray
    """`[rows]`: number of terms in that sum: tokens, words, or 1 for the row."""
    headline: Measure | None
    """The task's metric, if it is not the loss."""
    is_against_base: bool = False
    """Whether the loss is measured against the base model."""

    @property
    def height(self) -> float:
        """The task's metric or the negated mean loss; higher is better."""
        if self.headline is None:
            return -float(self.sums.sum() / max(1, self.counts.sum()))
        return value(self.headline) if self.headline.higher_is_better else -value(self.headline)


def score_of(evaluated: EvaluatedExamples, scorer: Scorer, is_against_base: bool) -> RunScore:
    """The score of one run.

    Args:
        evaluated: its rows.
        scorer: of its task.
        is_against_base: whether its loss is measured against the base model.
    """
    sums, counts = evaluated.summed_by_row(evaluated.sums, evaluated.counts)
    headline = next((one for one in scorer.measures(evaluated) if one.name == scorer.headline), None)
    return RunScore(sums, counts, headline, is_against_base)


@dataclass(slots=True)
class Comparable:
    """The metrics by which all runs can be compared."""

    figures: list[list[Measure]] = field(default_factory=list)
    """The task's own metric first; for each, one measure per run."""
    scales: dict[str, list[float]] = field(default_factory=dict)
    """By metric: the factor that brings the eval loss of each run to its scale."""
    remarks: list[str] = field(default_factory=list)
    """What cannot be compared, and why, in sentences."""


def find_comparable(
    scores: Sequence[RunScore], sizes: Sequence[int] | None, loss_options: Sequence[str] = ()
) -> Comparable:
    """The metrics by which runs can be compared.

    A loss is a mean over terms. It can be compared if every row has the same number of the same kind of terms in all
    runs. Different tokenizers split a text into different tokens, but the loss of the whole text is still comparable,
    since its likelihood is the product over its tokens; it is then given per byte of the text.

    Args:
        scores: of each run.
        sizes: `[rows]`, UTF-8 bytes trained on in each row; None if the loss is not that of a text.
        loss_options: options that differ between these runs and change the meaning of the loss.
    """
    found = Comparable()
    headlines = [score.headline for score in scores]
    if all(one is not None for one in headlines):
        kept = [one for one in headlines if one is not None]
        if len({len(one.table) for one in kept}) == 1:
            found.figures.append(kept)
        else:
            found.remarks.append(f"The {kept[0].name} is not measured on the same parts of the rows.")
    if loss_options:
        named = ", ".join(f"`{option}`" for option in loss_options)
        found.remarks.append(f"The losses are not compared, since {named} changes what they measure.")
        return found
    counts = numpy.stack([score.counts for score in scores])
    same = (counts == counts[0]).all(axis=0)
    if same.mean() >= 1 - _MOST_LEFT_OUT and same.sum() >= FEWEST_ROWS:
        found.figures.append([_loss("loss", score.sums[same], score.counts[same]) for score in scores])
        found.scales["loss"] = [1.0] * len(scores)
        if not same.all():
            left = int((~same).sum())
            found.remarks.append(f"{left} rows differ in length between runs and are left out of the loss.")
    elif sizes is not None:
        found.figures.append([_loss(PER_BYTE, score.sums, numpy.asarray(sizes)) for score in scores])
        found.scales[PER_BYTE] = [float(score.counts.sum()) / sum(sizes) for score in scores]
        found.remarks.append("The runs tokenize these texts differently, so their losses are given per byte of text.")
    else:
        found.remarks.append(
            "The losses are not compared, since the number of loss terms per row differs between these runs."
        )
    return found


def _loss(name: str, sums: numpy.ndarray, counts: numpy.ndarray) -> Measure:
    return ratio(name, sums, counts, higher_is_better=False, is_share=False)


def learned_bytes(records: Sequence[Record]) -> list[int] | None:
    """UTF-8 bytes trained on in each row; None if that is not text."""
    sizes = [record.learned_bytes() for record in records]
    known = [size for size in sizes if size is not None]
    return known if len(known) == len(sizes) else None


_NOISE = {
    "seeds": "The noise of training is measured from runs that differ only in the seed: {deviation} between seeds "
    "(standard deviation, {freedom:.0f} degrees of freedom).",
    "validations": "The noise of training is estimated from the scatter of each run's validations: up to {deviation} "
    "(standard deviation). Another seed may change the {figure} by more or by less; {advice}.",
    "none": "The noise of training is unknown for these runs, so only the noise of the rows is counted: another seed "
    "may change the {figure} as much.",
}
_MOST_LISTED = 3
"""Maximum number of pairs for which a verdict lists each one, shown or not."""


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One of the compared runs."""

    name: str
    path: str
    seed: int
    recipe: int
    """Number of its recipe, from 0; runs that differ only in the seed share one."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The eval loss of a run during training, on its own validation rows."""

    run: str
    points: list[tuple[int, int, float]]
    """Step, training tokens so far, and loss."""


@dataclass(slots=True)
class RunComparison:
    """The result of comparing runs."""

    rows: int
    held_out: str
    """The source of the rows, as text."""
    runs: list[ComparedRun]
    figures: list[ComparedFigure]
    """The one for the verdict first; never empty."""
    options: list[OptionDifference]
    curves: list[Curve]
    remarks: list[str]
    """What cannot be compared, and why."""

    @property
    def recipes(self) -> list[list[ComparedRun]]:
        """The runs by recipe."""
        number = 1 + max(run.recipe for run in self.runs)
        return [[run for run in self.runs if run.recipe == recipe] for recipe in range(number)]

    @property
    def labels(self) -> list[str]:
        """A name for each recipe: that of its first run."""
        seeds = [len({run.seed for run in runs}) for runs in self.recipes]
        counts = [f" ({number} seeds)" if number > 1 else "" for number in seeds]
        return [f"`{runs[0].name}`{more}" for runs, more in zip(self.recipes, counts, strict=True)]

    @property
    def is_shown(self) -> bool:
        """Whether any two recipes differ beyond the noise."""
        return any(pair.is_shown for pair in self.figures[0].pairs)

    @property
    def verdict(self) -> str:
        """The outcome in a few sentences."""
        figure = self.figures[0]
        if not figure.pairs:
            return self._seeds_alone(figure)
        chosen = figure.pairs
        if len(chosen) > _MOST_LISTED:
            chosen = [pair for pair in figure.pairs if pair.is_shown]
        sentences = [self._sentence(figure, pair) for pair in chosen]
        others = len(figure.pairs) - len(chosen)
        if others:
            among = "any other two" if chosen else "any two"
            count = len(self.recipes)
            where = f"on {figure.rows:,} rows"
            sentences.append(f"No difference between {among} of the {count} recipes is significant {where}.")
        if len(figure.pairs) > 1:
            sentences.append(f"The p-values are corrected for {len(figure.pairs)} comparisons (Holm).")
        noise = noise_in_words(figure.name, figure.is_share, figure.noise)
        return " ".join([*sentences, noise, *few_rows(figure.rows)])

    def _sentence(self, figure: ComparedFigure, pair: RecipePair) -> str:
        first, second = self.labels[pair.first], self.labels[pair.second]
        by, within = amount(abs(pair.change.value), figure.is_share), interval(pair.change, figure.is_share)
        if not pair.is_shown:
            moved = f"the {figure.name} differs by {_sign(pair.change.value)}{by} {within}"
            swallowed = pair.rows_alone.chance < 0.05 <= pair.change.chance
            more = (
                " These models do differ on such rows, but not by more than the noise of training." if swallowed else ""
            )
            return f"{first} and {second} do not differ significantly on {figure.rows:,} rows: {moved}.{more}"
        is_better = (pair.change.value < 0) == figure.lower_is_better
        side = "lower" if pair.change.value < 0 else "higher"
        training = " and of training" if figure.noise.source != "none" else ""
        return (
            f"{second} is {'better' if is_better else 'worse'} than {first} on {figure.rows:,} rows: the {figure.name} "
            f"is {side} by {by} {within}, beyond the noise of the rows{training}."
        )

    def _seeds_alone(self, figure: ComparedFigure) -> str:
        seeds = {run.seed: figure.runs[number].value for number, run in enumerate(self.runs)}
        if len(seeds) == 1:
            return "No difference is shown: the runs have the same recipe and seed."
        values = list(seeds.values())
        between = max(values) - min(values)
        share = f", {100 * between / abs(values[0]):.1f} % of it" if not figure.is_share and values[0] else ""
        deviation = figure.noise.deviation or 0.0
        spread = f" (standard deviation {amount(deviation, figure.is_share)})" if len(values) > 2 else ""
        return (
            f"The runs differ only in the seed. Over {len(values)} seeds the {figure.name} "
            f"varied by {amount(between, figure.is_share)}{share}, on {figure.rows:,} rows{spread}. A difference "
            "of this size between recipes may be due to the seed alone."
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, with the verdict."""
        return finite(
            {
                "rows": self.rows,
                "held_out": self.held_out,
                "runs": [asdict(run) for run in self.runs],
                "recipes": [[run.name for run in runs] for runs in self.recipes],
                "labels": self.labels,
                "figures": [figure.to_dict() for figure in self.figures],
                "options": [asdict(one) for one in self.options],
                "curves": [asdict(curve) for curve in self.curves],
                "remarks": self.remarks,
                "is_shown": self.is_shown,
                "verdict": self.verdict,
            }
        )


def measured_seeds(runs: Sequence[ComparedRun]) -> list[list[int]]:
    """For each recipe its runs by number, one per seed, since a repeated run says nothing about seeds."""
    groups: list[dict[int, int]] = [{} for _ in range(1 + max(run.recipe for run in runs))]
    for number, run in enumerate(runs):
        groups[run.recipe].setdefault(run.seed, number)
    return [list(group.values()) for group in groups]


def training_noises(figure: str, scales: Mapping[str, Sequence[float]], metrics: Sequence[Any]) -> list[Noise | None]:
    """The noise of training, estimated from each run's validations, on the scale of the figure.

    Args:
        figure: name of the metric.
        scales: see `Comparable.scales`.
        metrics: lines of `metrics.jsonl` of each run.
    """
    if figure not in scales:
        return [run_noise(lines, figure) for lines in metrics]
    scaled = zip(scales[figure], (run_noise(lines, "loss") for lines in metrics), strict=True)
    return [noise and Noise(noise.variance * scale**2, noise.freedom) for scale, noise in scaled]


_ADVICE = "to measure it, compare runs with several seeds (`burnish train ... --seed 1`)"


def noise_in_words(metric: str, is_share: bool, noise: TrainingNoise, advice: str = _ADVICE) -> str:
    """What is known of the noise of training, in a sentence.

    Args:
        metric: its name.
        is_share: whether it is shown in points.
        noise: what is known.
        advice: how to measure it, where it is only estimated.
    """
    deviation = "" if noise.deviation is None else amount(noise.deviation, is_share)
    return _NOISE[noise.source].format(figure=metric, deviation=deviation, freedom=noise.freedom or 0.0, advice=advice)


def few_rows(rows: int) -> list[str]:
    """What to know about a comparison on few rows, in a sentence; none with more."""
    if rows >= FEW_ROWS:
        return []
    return [f"With {rows} rows the intervals are wide, so only large differences can be shown."]


def amount(value: float, is_share: bool) -> str:
    """A difference in the unit of the metric: percentage points for a share, otherwise three decimals or two digits."""
    if is_share:
        return f"{100 * value:.1f} points"
    return f"{value:.3f}" if value >= 0.0995 or value == 0 else f"{value:.2g}"


def interval(change: Change, is_share: bool) -> str:
    """The interval of a difference, in the unit of the metric."""
    scale = 100 if is_share else 1
    digits = 1 if is_share else 3
    if not is_share and 0 < change.high - change.low < 0.02:
        digits = min(8, 1 - math.floor(math.log10(change.high - change.low)))
    return f"[{scale * change.low:+.{digits}f}, {scale * change.high:+.{digits}f}]"


def _sign(value: float) -> str:
    return "-" if value < 0 else "+"
