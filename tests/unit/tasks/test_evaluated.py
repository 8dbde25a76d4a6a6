"""One model's outcome, and the figures that every task has."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy
import pytest

from burnish.metrics.measure import value
from burnish.tasks.evaluated import EvaluatedExamples


def evaluated_of(owners: Sequence[int], sums: Sequence[float], counts: Sequence[int]) -> EvaluatedExamples:
    """Examples with so much loss and so many terms."""
    nothing = [None] * len(owners)
    return EvaluatedExamples(
        nothing, owners, nothing, numpy.array(sums, dtype=float), numpy.array(counts, dtype=numpy.int64)
    )


def test_rows_are_the_sums_of_their_examples() -> None:
    """Row 1 has no example, row 3 has one without a term: neither can be drawn."""
    sums, counts = evaluated_of([2, 0, 2, 3], [1.0, 5.0, 3.0, 0.0], [1, 4, 2, 0]).by_row()
    assert sums.tolist() == [5.0, 4.0]
    assert counts.tolist() == [4, 3]


def test_loss_and_perplexity_by_hand() -> None:
    evaluated = evaluated_of([0, 1, 1], [4.0, 2.0, 6.0], [2, 1, 3])
    loss, perplexity = evaluated.loss(), evaluated.perplexity()
    assert (loss.name, value(loss)) == ("loss", 2.0)
    assert (perplexity.name, value(perplexity)) == ("perplexity", pytest.approx(math.e**2))
    assert loss.table.tolist() == perplexity.table.tolist() == [[4.0, 2.0], [8.0, 4.0]], "rows, not tokens"
    for measure in (loss, perplexity):
        assert not measure.higher_is_better
        assert not measure.is_share
    assert (loss.least, loss.compares_ratios) == (0.0, False)
    assert (perplexity.least, perplexity.compares_ratios) == (1.0, True)


def test_perplexity_of_many_draws_at_once() -> None:
    sums = numpy.array([[4.0, 2.0], [3.0, 3.0]])
    assert evaluated_of([0], [1.0], [1]).perplexity().formula(sums) == pytest.approx([math.e**2, math.e])


def test_perplexity_is_never_infinite() -> None:
    assert value(evaluated_of([0], [699.0], [1]).perplexity()) == pytest.approx(math.e**699)
    assert value(evaluated_of([0], [1e6], [1]).perplexity()) == pytest.approx(math.e**700)


def test_owners_may_be_a_range() -> None:
    assert evaluated_of(range(2), [1.0, 2.0], [1, 1]).by_row()[0].tolist() == [1.0, 2.0]


def test_nothing_evaluated() -> None:
    evaluated = evaluated_of([], [], [])
    assert [len(part) for part in evaluated.by_row()] == [0, 0]
    assert [len(part) for part in evaluated.summed_by_row([], [])] == [0, 0]
    assert value(evaluated.loss()) == 0.0
