"""Results of an evaluation: the losses and outputs of a batch, and of all held-out examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy
import torch
from numpy.typing import ArrayLike

from burnish.metrics.measure import Measure, quotient, ratio

_LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """The results of a batch."""

    losses: torch.Tensor
    """`[terms]` fp32, in nats."""
    outputs: list[Any]
    """Input of the task's metrics, one item per example of the batch; empty if they need none."""


@dataclass(frozen=True, slots=True)
class EvaluatedExamples:
    """The results of each held-out example."""

    examples: Sequence[Any]
    owners: Sequence[int]
    """The row number of each example."""
    outputs: Sequence[Any]
    """The item of `BatchOutcome.outputs` of each example; None if there is none."""
    sums: numpy.ndarray
    """`[examples]` float64: summed loss of each example, in nats."""
    counts: numpy.ndarray
    """`[examples]` int64: number of terms of that sum."""

    def taken(self, numbers: Sequence[int]) -> EvaluatedExamples:
        """The results of some examples, by their numbers; their rows are numbered again from 0."""
        rows = {owner: number for number, owner in enumerate(sorted({self.owners[at] for at in numbers}))}
        return EvaluatedExamples(
            [self.examples[at] for at in numbers],
            [rows[self.owners[at]] for at in numbers],
            [self.outputs[at] for at in numbers],
            self.sums[list(numbers)],
            self.counts[list(numbers)],
        )

    def by_row(self) -> tuple[numpy.ndarray, numpy.ndarray]:
        """`[rows]` float64 sums and counts of the loss; rows without an example or a term of it are left out."""
        sums, counts = self.summed_by_row(self.sums, self.counts)
        return sums[counts > 0], counts[counts > 0]

    def summed_by_row(self, *columns: ArrayLike) -> list[numpy.ndarray]:
        """Sums values of the examples, `[examples]` each, by row, `[rows]` each."""
        rows = max(self.owners, default=-1) + 1
        return [numpy.bincount(list(self.owners), weights=numpy.asarray(column), minlength=rows) for column in columns]

    def loss(self) -> Measure:
        """Mean loss per term. Its interval resamples rows, not tokens, because the tokens of a row depend on each
        other (Efron and Tibshirani 1993, ch. 13)."""
        return loss_of_rows(*self.by_row())

    def perplexity(self) -> Measure:
        """exp of the mean loss per token."""
        table = numpy.stack([part.astype(numpy.float64) for part in self.by_row()], axis=1)
        return Measure("perplexity", table, _exp_of_mean, False, False, least=1.0, compares_ratios=True)


def loss_of_rows(sums: numpy.ndarray, counts: numpy.ndarray) -> Measure:
    """The mean loss from `[rows]` sums in nats and `[rows]` numbers of terms."""
    return replace(ratio("loss", sums, counts, higher_is_better=False, is_share=False), least=0.0)


def _exp_of_mean(sums: numpy.ndarray) -> numpy.ndarray:
    return numpy.exp(numpy.minimum(quotient(sums[..., 0], sums[..., 1]), _LARGEST_EXPONENT))
