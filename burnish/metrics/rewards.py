"""Metrics of rewards: how often, and by how much, a better answer is rewarded more than a worse one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from burnish.metrics.measure import Measure, mean, quotient, ratio

DRIFT = "KL to the base (on the data's answers)"
"""Mean of log p - log p(base) per answer token. It estimates the KL divergence as far as the data's answers are like
the model's own; where they are not, it can be negative."""


def pair_measures(
    sums: numpy.ndarray, counts: numpy.ndarray, references: numpy.ndarray | None, beta: float, by_token: bool
) -> list[Measure]:
    """Share of pairs whose better answer has the higher reward (ties count half), and by how much it is higher.

    Args:
        sums: `[pairs, 2]` float64, log-probabilities of the better and the worse answer, in nats.
        counts: `[pairs, 2]` float64, their tokens.
        references: `[pairs, 2]` float64, the same log-probabilities under the base model; None where rewards are not
            measured against it.
        beta: scale of the rewards.
        by_token: whether a reward is that of a token, and not of the whole answer.
    """
    ratios = sums if references is None else sums - references
    rewards = beta * (ratios / counts if by_token else ratios)
    margins = rewards[:, 0] - rewards[:, 1]
    measures = [mean("reward accuracy", wins(margins)), mean("reward margin", margins, is_share=False)]
    if references is not None:
        measures.append(ratio(DRIFT, ratios.sum(1), counts.sum(1), higher_is_better=False, is_share=False))
    return measures


def rated_measures(
    rows: Sequence[int],
    ratios: numpy.ndarray,
    points: numpy.ndarray,
    counts: numpy.ndarray,
    good: numpy.ndarray,
    beta: float,
) -> list[Measure]:
    """The same for rated answers: a good one should be rewarded above the reference point of `kto`, a bad one below.

    Answers that came from one row, as the two of a pair, are left out together in an interval.

    Args:
        rows: for each answer, the number of its row.
        ratios: `[answers]` float64, log p - log p(base) of each answer, in nats.
        points: `[answers]` float64, the reference point.
        counts: `[answers]` float64, tokens of each answer.
        good: `[answers]` bool, the ratings.
        beta: scale of the rewards.
    """
    rewards = beta * ratios
    right = wins(numpy.where(good, ratios - points, points - ratios))
    ones = numpy.ones_like(rewards)
    parts = [right, ones, rewards * good, 1.0 * good, rewards * ~good, 1.0 * ~good, ratios, counts]
    numbers, places = numpy.unique(numpy.asarray(rows, dtype=numpy.int64), return_inverse=True)
    table = numpy.zeros((len(numbers), len(parts)))
    numpy.add.at(table, places, numpy.stack(parts, axis=1))
    return [
        ratio("reward accuracy", table[:, 0], table[:, 1]),
        Measure("reward margin", table[:, 2:6], _gap, higher_is_better=True, is_share=False),
        ratio("reward of good answers", table[:, 2], table[:, 3], is_share=False),
        ratio("reward of bad answers", table[:, 4], table[:, 5], higher_is_better=False, is_share=False),
        ratio(DRIFT, table[:, 6], table[:, 7], higher_is_better=False, is_share=False),
    ]


def wins(margins: numpy.ndarray) -> numpy.ndarray:
    """`[pairs]`: 1 where the better answer has more, 0 where it has less, one half for a tie."""
    return (numpy.sign(margins) + 1) / 2


def _gap(sums: numpy.ndarray) -> numpy.ndarray:
    """Mean reward of the good less that of the bad answers."""
    return quotient(sums[..., 0], sums[..., 1]) - quotient(sums[..., 2], sums[..., 3])
