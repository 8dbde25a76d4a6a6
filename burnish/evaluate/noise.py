"""Compares recipes by one metric: every difference, against the noise of the rows and of the training."""

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
"""Validations needed to estimate a scatter."""


def seed_noise(
    values: numpy.ndarray, covariance: numpy.ndarray, groups: Sequence[Sequence[int]]
) -> tuple[Noise | None, Noise | None]:
    """The effect of the seed alone on a metric, if some group has runs with several seeds.

    Models with different seeds also differ on single rows. That part of their spread is noise of the rows, and counts
    there: the expected sum of squares of a group from rows alone is trace(C) - sum(C) / n, with C their covariance.

    Args:
        values: `[runs]`, the metric.
        covariance: `[runs, runs]`, of the metric over rows.
        groups: runs by number; those of a group differ only in the seed.

    Returns:
        The observed variance between seeds, and what remains of it without the noise of rows; None twice if every
        group is a single run.
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
    """How far the later validations of a run scatter around their trend.

    Later means in the second half of training by cumulative learning rate: at a rate near zero nothing scatters any
    more, although the effect of earlier steps remains.

    Args:
        metrics: lines of its `metrics.jsonl`.
        figure: `loss`, or the name of another metric.

    Returns:
        None if there are too few validations, or none with that metric.
    """
    values = late_values(metrics, figure)
    return scatter(values) if len(values) >= _FEWEST_LATE else None


def late_values(metrics: Sequence[Mapping[str, Any]], figure: str) -> list[float]:
    """A metric in the validations of the second half of training, or in the last five; equally spaced."""
    rates = [(line["step"], line["learning_rate"]) for line in metrics if line["event"] == "StepDone"]
    seen = [line for line in metrics if line["event"] == "Validated" and line["step"] > 0]
    seen = [line for line in seen if line["step"] % seen[0]["step"] == 0]  # the last validation may be off schedule
    half = sum(rate for _, rate in rates) / 2
    late = [line for line in seen if sum(rate for step, rate in rates if step <= line["step"]) >= half]
    chosen = late if len(late) >= _FEWEST_LATE else seen[-_FEWEST_LATE:]
    values = [line["loss"] if figure == "loss" else line["figures"].get(figure) for line in chosen]
    return [float(one) for one in values] if None not in values else []


Source = Literal["seeds", "validations", "none"]


@dataclass(frozen=True, slots=True)
class RecipePair:
    """Two recipes by one metric: the second minus the first."""

    first: int
    second: int
    """Numbers of the recipes."""
    change: Change
    """Against all known noise."""
    rows_alone: Change
    """Against the noise of the rows alone: holds for these particular models."""
    raised_chance: float
    """The p-value, corrected for the number of comparisons."""

    @property
    def is_shown(self) -> bool:
        """Whether the difference is beyond the noise."""
        return self.raised_chance <= 1 - CONFIDENCE


@dataclass(frozen=True, slots=True)
class TrainingNoise:
    """What is known about the noise of training, for one metric."""

    source: Source
    """`seeds`: from runs that differ only in the seed; `validations`: from the scatter of each run's validations."""
    deviation: float | None
    """Standard deviation of a single run; the largest if there is one per run."""
    freedom: float | None
    """Its degrees of freedom."""


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """One metric of all runs."""

    name: str
    lower_is_better: bool
    is_share: bool
    rows: int
    """Number of rows it was measured on."""
    runs: list[Estimate]
    """For each run, with the interval from the sampling of rows."""
    pairs: list[RecipePair]
    noise: TrainingNoise

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, with `is_shown` for each pair."""
        pairs = [{**asdict(pair), "is_shown": pair.is_shown} for pair in self.pairs]
        return {**asdict(self), "pairs": pairs}


def compare_recipes(
    measures: Sequence[Measure], groups: Sequence[Sequence[int]], scatters: Sequence[Noise | None]
) -> ComparedFigure:
    """Every pair of recipes by one metric, paired by row.

    A recipe with several seeds counts by their mean.

    Args:
        measures: the metric of each run, on the same rows in the same order.
        groups: the runs of each recipe by number, each with a different seed.
        scatters: the noise of training of each run, from its validations; unused if it is known from seeds.
    """
    covariance = row_covariance(measures)
    filled = _filled(scatters)
    values = numpy.array([value(one) for one in measures])
    seen, between = seed_noise(values, covariance, groups)
    means = _means(groups, len(measures))
    freedom = effective_rows(measures[0]) - 1
    found = []
    for first, second in combinations(range(len(groups)), 2):
        contrast = means[second] - means[first]
        rows = Noise(max(0.0, float(contrast @ covariance @ contrast)), freedom)
        training = _training(groups[first], groups[second], between, filled)
        change = float(contrast @ values)
        weighed = weigh(change, [rows, *training])
        found.append(RecipePair(first, second, weighed, weigh(change, [rows]), weighed.chance))
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
        noise=_training_noise(seen, scatters),
    )


def recipe_values(measures: Sequence[Measure], groups: Sequence[Sequence[int]]) -> list[Estimate]:
    """The metric of every recipe: the mean over its seeds, with an interval from rows and seeds together; of a recipe
    with one seed, that of its run, from the rows alone.

    Args:
        measures: the metric of each run, on the same rows in the same order.
        groups: the runs of each recipe by number, each with a different seed.
    """
    covariance = row_covariance(measures)
    values = numpy.array([value(one) for one in measures])
    _, between = seed_noise(values, covariance, groups)
    freedom = effective_rows(measures[0]) - 1
    least, most = (0.0, 1.0) if measures[0].is_share else (measures[0].least, measures[0].most)
    found = []
    for weights, group in zip(_means(groups, len(measures)), groups, strict=True):
        if len(group) == 1 or between is None:
            found.append(estimate(measures[group[0]]))
            continue
        rows = Noise(max(0.0, float(weights @ covariance @ weights)), freedom)
        seeds = Noise(between.variance / len(group), between.freedom)
        mean = weigh(float(weights @ values), [rows, seeds])
        found.append(Estimate(mean.value, max(least, mean.low), min(most, mean.high)))
    return found


def _means(groups: Sequence[Sequence[int]], runs: int) -> numpy.ndarray:
    """`[recipes, runs]`: the weights that give each recipe's mean."""
    means = numpy.zeros((len(groups), runs))
    for number, group in enumerate(groups):
        means[number, list(group)] = 1 / len(group)
    return means


def _filled(scatters: Sequence[Noise | None]) -> Sequence[Noise | None]:
    """A run of unknown noise is assumed to be as noisy as the noisiest of the others."""
    known = [noise for noise in scatters if noise is not None]
    largest = max(known, key=lambda noise: noise.variance, default=None)
    return [noise or largest for noise in scatters]


def _training(
    first: Sequence[int], second: Sequence[int], between: Noise | None, scatters: Sequence[Noise | None]
) -> list[Noise]:
    """The noise of training in the difference of two recipes; empty if it is unknown."""
    if between is not None:
        return [Noise(between.variance * (1 / len(first) + 1 / len(second)), between.freedom)]
    one, other = scatters[first[0]], scatters[second[0]]
    return [] if one is None or other is None else [one, other]


def _training_noise(seen: Noise | None, scatters: Sequence[Noise | None]) -> TrainingNoise:
    if seen is not None:
        return TrainingNoise("seeds", math.sqrt(seen.variance), seen.freedom)
    known = [noise for noise in scatters if noise is not None]
    if not known:
        return TrainingNoise("none", None, None)
    largest = max(known, key=lambda noise: noise.variance)
    return TrainingNoise("validations", math.sqrt(largest.variance), largest.freedom)
