"""The noise of training: how far another seed would move a figure, as far as the runs at hand tell.

Runs that differ in nothing but the seed tell it plainly. Without them, a run's own validations tell a part of it: how
far they scatter around their course, which the order of the rows and dropout make. What another seed does besides, by
another start of the adapter for example, a single run cannot know. The checkpoints that are left add nothing to that:
each was judged when it was made, and stands among the validations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from burnish.metrics.scatter import scatter, spread
from burnish.metrics.significance import Noise

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
