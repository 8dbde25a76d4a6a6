"""Measures and the arithmetic that they share."""

from __future__ import annotations

import math

import numpy
import pytest

from burnish.metrics.measure import Measure, f1, mean, quotient, ratio, value
from tests.unit.metrics.redraws import check


def test_the_figure_is_the_formula_of_the_column_sums() -> None:
    table = numpy.array([[1.0, 4.0], [2.0, 8.0]])
    assert value(Measure("m", table, lambda sums: sums[..., 1] - sums[..., 0], True, False)) == 9.0


def test_mean_and_ratio() -> None:
    assert value(mean("accuracy", [True, False, True, True])) == 0.75
    loss = ratio("loss", [3.0, 10.0], [1, 9], higher_is_better=False, is_share=False)
    assert value(loss) == pytest.approx(1.3)
    assert (loss.name, loss.higher_is_better, loss.is_share) == ("loss", False, False)
    for usual in (mean("x", [1]), ratio("x", [1], [1])):
        assert (usual.higher_is_better, usual.is_share) == (True, True)
        assert (usual.least, usual.most, usual.compares_ratios) == (-math.inf, math.inf, False)


def test_nothing_to_evaluate_is_zero() -> None:
    assert value(mean("accuracy", [])) == 0.0
    assert value(ratio("share", [0.0, 0.0], [0, 0])) == 0.0


def test_quotient_is_zero_over_zero_without_warnings() -> None:
    with numpy.errstate(all="raise"):
        assert quotient([[1.0, 0.0], [3.0, 5.0]], [[2.0, 0.0], [0.0, 5.0]]).tolist() == [[0.5, 0.0], [0.0, 1.0]]
        assert quotient([1, 2], 4).tolist() == [0.25, 0.5]


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    precision, recall = 3 / 4, 3 / 7
    assert float(f1(3, 4, 7)) == pytest.approx(2 * precision * recall / (precision + recall))
    assert f1([0, 0, 5], [0, 3, 5], [0, 2, 5]).tolist() == [0.0, 0.0, 1.0]


def test_redrawn_rows() -> None:
    source = numpy.random.default_rng(1)
    above, below = source.random(20), source.integers(1, 9, 20)
    check(mean("m", above), lambda rows: mean("m", above[rows]))
    check(ratio("r", above, below), lambda rows: ratio("r", above[rows], below[rows]))
