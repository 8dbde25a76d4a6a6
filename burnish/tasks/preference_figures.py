"""Figures of a model that learned from better and worse answers.

The reward of an answer is what the losses call so: beta times the log-ratio of the model to its base (arXiv
2305.18290, eq. 5), or, for losses without a reference, beta times the log-probability that they compare. Measured
against itself the base has no reward to give: its accuracy is one half and its margin 0 by definition.
"""

from __future__ import annotations

from typing import Any

import numpy

from burnish.metrics.measure import Measure, mean, quotient, ratio
from burnish.tasks.judged import Judged

DRIFT = "KL to the base (on the data's answers)"
"""Mean of log p - log p(base) per answer token. It estimates the KL divergence as far as the data's answers are like
the model's own; where they are not, it can be negative."""


def pair_measures(judged: Judged, loss: str, beta: float) -> list[Measure]:
    """Share of pairs whose better answer has the higher reward (ties count half), and by how much it is higher."""
    rows, examples, outputs = _seen(judged)
    sums = numpy.array(outputs, dtype=numpy.float64).reshape(-1, 2)
    counts = numpy.array([(e.chosen.num_learned, e.rejected.num_learned) for e in examples], dtype=numpy.float64)
    counts = counts.reshape(-1, 2)
    references = [example.reference for example in examples]
    has_reference = all(reference is not None for reference in references) and loss in ("dpo", "ipo")
    ratios = sums - numpy.array(references, dtype=numpy.float64).reshape(-1, 2) if has_reference else sums
    rewards = beta * (ratios / counts if loss in ("simpo", "orpo") else ratios)
    margins = rewards[:, 0] - rewards[:, 1]
    measures = [mean("reward accuracy", _halves(margins)), mean("reward margin", margins, is_share=False)]
    if has_reference:
        measures.append(ratio(DRIFT, ratios.sum(1), counts.sum(1), higher_is_better=False, is_share=False))
    return measures


def rated_measures(judged: Judged, beta: float) -> list[Measure]:
    """The same for rated answers: a good one should be rewarded above the reference point of `kto`, a bad one below.

    Answers that came from one row, as the two of a pair, are drawn together in the bootstrap.
    """
    rows, examples, outputs = _seen(judged)
    sums, points = numpy.array(outputs, dtype=numpy.float64).reshape(-1, 2).T
    counts = numpy.array([example.answer.num_learned for example in examples], dtype=numpy.float64)
    ratios = sums - numpy.array([example.reference[0] for example in examples], dtype=numpy.float64)
    good = numpy.array([example.good for example in examples], dtype=bool)
    rewards = beta * ratios
    right = _halves(numpy.where(good, 1, -1) * (ratios - points))
    ones = numpy.ones_like(rewards)
    parts = [right, ones, rewards * good, 1.0 * good, rewards * ~good, 1.0 * ~good, ratios, counts]
    table = numpy.zeros((max(rows, default=-1) + 1, len(parts)))
    numpy.add.at(table, rows, numpy.stack(parts, axis=-1))
    table = table[table[:, 1] > 0]
    return [
        ratio("reward accuracy", table[:, 0], table[:, 1]),
        Measure("reward margin", table[:, 2:6], _gap, higher_is_better=True, is_share=False),
        ratio("reward of good answers", table[:, 2], table[:, 3], is_share=False),
        ratio("reward of bad answers", table[:, 4], table[:, 5], higher_is_better=False, is_share=False),
        ratio(DRIFT, table[:, 6], table[:, 7], higher_is_better=False, is_share=False),
    ]


def _seen(judged: Judged) -> tuple[list[int], list[Any], list[Any]]:
    """Row, example and output of everything that was judged."""
    seen = [index for index, output in enumerate(judged.outputs) if output is not None]
    return (
        [judged.owners[index] for index in seen],
        [judged.examples[index] for index in seen],
        [judged.outputs[index] for index in seen],
    )


def _halves(margins: numpy.ndarray) -> numpy.ndarray:
    """1 for more than 0, 0 for less, one half for a tie."""
    return (numpy.sign(margins) + 1) / 2


def _gap(sums: numpy.ndarray) -> numpy.ndarray:
    """Mean reward of the good less that of the bad answers."""
    return quotient(sums[..., 0], sums[..., 1]) - quotient(sums[..., 2], sums[..., 3])
