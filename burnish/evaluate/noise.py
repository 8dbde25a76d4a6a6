"""Recipes compared by one metric: every difference, against the noise of the rows and of the training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy

from burnish.metrics.intervals import CONFIDENCE, Estimate, estimate
from burnish.metrics.measure import Measure, value
from burnish.metrics.significance import Change, Noise, effective_rows, holm, row_covariance, scatter, spread, weigh

_FEWEST_LATE = 5
"""Validations from which a scatter can be told."""


def seed_noise(
    values: numpy.ndarray, covariance: numpy.ndarray, groups: Sequence[Sequence[int]]
) -> tuple[Noise | None, Noise | None]:
    """What the seed alone does to a figure, where some group has runs of several seeds.

    Models of two seeds part on single rows, too. That much of their spread is noise of the rows, and is counted there:
    the expected sum of squares of a group by rows alone is trace(C) - sum(C) / n, with C their covariance.

    Args:
        values: `[runs]`, the figure.
        covariance: `[runs, runs]`, of the figure over rows.
        groups: runs by number; those of a group differ in nothing but the seed.

    Returns:
        The variance between seeds as it is seen, and what is left of it without the noise of rows; None twice where
        every group is a single run.
    """
    seen = spread([values[list(group)].tolist() for group in groups])
    if seen is None:
        return None, None
    explained = 0.0
    for group in groups:
        own = covariance[numpy.ix_(list(group), list(group))]
        explained += float(own.trace() - own.sum() / len(group))
    return seen, Noise(max(0.0, seen.variance - explained / seen.freedom), seen.freedom)


def run_noise(metrics: Sequence[Mapping[str, Any]], figure: str) -> Noise | None:
    """How far the later validations of a run scatter around their course.

    Later are those of the second half of the way, by the summed learning rate: at a rate near zero nothing scatters any
    more, though what earlier steps have left stays.

    Args:
        metrics: lines of its `metrics.jsonl`.
        figure: `loss`, or the name of another.

    Returns:
        None where there are too few validations, or none with that figure.
    """
    values = late_values(metrics, figure)
    return scatter(values) if len(values) >= _FEWEST_LATE else None


def late_values(metrics: Sequence[Mapping[str, Any]], figure: str) -> list[float]:
    """A figure in the validations of the second half of the way, or in the last five; at equal distances."""
    rates = [(line["step"], line["learning_rate"]) for line in metrics if line["event"] == "StepDone"]
    seen = [line for line in metrics if line["event"] == "Validated" and line["step"] > 0]
    seen = [line for line in seen if line["step"] % seen[0]["step"] == 0]  # the last one may be out of the rhythm
    half = sum(rate for _, rate in rates) / 2
    late = [line for line in seen if sum(rate for step, rate in rates if step <= line["step"]) >= half]
    chosen = late if len(late) >= _FEWEST_LATE else seen[-_FEWEST_LATE:]
    told = [line["loss"] if figure == "loss" else line["figures"].get(figure) for line in chosen]
    return [float(one) for one in told] if None not in told else []


Source = Literal["seeds", "validations", "none"]


@dataclass(frozen=True, slots=True)
class RecipePair:
    """Two recipes by one figure: the second less the first."""

    first: int
    second: int
    """Numbers of the recipes."""
    change: Change
    """Against all noise that is known."""
    rows_alone: Change
    """Against the noise of the rows: what is known of these very models."""
    raised_chance: float
    """The chance, raised for the number of comparisons."""

    @property
    def is_shown(self) -> bool:
        """Whether the difference stands beyond the noise."""
        return self.raised_chance <= 1 - CONFIDENCE


@dataclass(frozen=True, slots=True)
class TrainingNoise:
    """What is known of the noise of training, for one figure."""

    source: Source
    """`seeds`: from runs that differ in nothing but the seed; `validations`: from how those of each run scatter."""
    deviation: float | None
    """Standard deviation of a single run; the larger where each run tells its own."""
    freedom: float | None
    """Degrees of freedom of that."""


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """One figure of all runs."""

    name: str
    lower_is_better: bool
    is_share: bool
    rows: int
    """Rows that it was measured on."""
    runs: list[Estimate]
    """Of each run, with the interval by the choice of rows."""
    pairs: list[RecipePair]
    noise: TrainingNoise

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, with what is shown."""
        pairs = [{**asdict(pair), "is_shown": pair.is_shown} for pair in self.pairs]
        return {**asdict(self), "pairs": pairs}


def compare_recipes(
    measures: Sequence[Measure], groups: Sequence[Sequence[int]], scatters: Sequence[Noise | None]
) -> ComparedFigure:
    """Every two recipes by one figure, paired by row.

    A recipe of several seeds counts by the mean over them.

    Args:
        measures: the figure of each run, on the same rows in the same order.
        groups: the runs of each recipe by number, each of another seed.
        scatters: of each run, what its own validations tell of the noise of training; not read where seeds tell it.
    """
    covariance = row_covariance(measures)
    filled = _filled(scatters)
    values = numpy.array([value(one) for one in measures])
    seen, between = seed_noise(values, covariance, groups)
    means = numpy.zeros((len(groups), len(measures)))
    for number, group in enumerate(groups):
        means[number, list(group)] = 1 / len(group)
    freedom = effective_rows(measures[0]) - 1
    found = []
    for first, second in combinations(range(len(groups)), 2):
        contrast = means[second] - means[first]
        rows = Noise(max(0.0, float(contrast @ covariance @ contrast)), freedom)
        training = _training(groups[first], groups[second], between, filled)
        change = float(contrast @ values)
        told = weigh(change, [rows, *training])
        found.append(RecipePair(first, second, told, weigh(change, [rows]), told.chance))
    raised = holm([pair.raised_chance for pair in found])
    pairs = [replace(pair, raised_chance=chance) for pair, chance in zip(found, raised, strict=True)]
    like = measures[0]
    return ComparedFigure(
        name=like.name,
        lower_is_better=not like.higher_is_better,
        is_share=like.is_share,
        rows=len(like.table),
        runs=[estimate(one) for one in measures],
        pairs=pairs,
        noise=_told(seen, scatters),
    )


def _filled(scatters: Sequence[Noise | None]) -> Sequence[Noise | None]:
    """A run that tells nothing is taken to be as noisy as the noisiest of the others."""
    known = [noise for noise in scatters if noise is not None]
    largest = max(known, key=lambda noise: noise.variance, default=None)
    return [noise or largest for noise in scatters]


def _training(
    first: Sequence[int], second: Sequence[int], between: Noise | None, scatters: Sequence[Noise | None]
) -> list[Noise]:
    """The noise of training in the difference of two recipes; empty where nothing tells it."""
    if between is not None:
        return [Noise(between.variance * (1 / len(first) + 1 / len(second)), between.freedom)]
    one, other = scatters[first[0]], scatters[second[0]]
    return [] if one is None or other is None else [one, other]


def _told(seen: Noise | None, scatters: Sequence[Noise | None]) -> TrainingNoise:
    if seen is not None:
        return TrainingNoise("seeds", math.sqrt(seen.variance), seen.freedom)
    known = [noise for noise in scatters if noise is not None]
    if not known:
        return TrainingNoise("none", None, None)
    largest = max(known, key=lambda noise: noise.variance)
    return TrainingNoise("validations", math.sqrt(largest.variance), largest.freedom)
