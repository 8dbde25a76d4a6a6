"""Metrics of rewards, by hand."""

from __future__ import annotations

import numpy
import pytest

from burnish.metrics.measure import value
from burnish.metrics.rewards import rated_measures, wins


def test_rated_answers_by_hand() -> None:
    """Two good answers, above and below the reference point, and two bad ones above it; row 1 has none."""
    rows = [0, 0, 2, 3]
    ratios, points = numpy.array([3.0, -1.0, 2.0, 4.0]), numpy.array([1.0, 1.0, 1.0, 1.0])
    counts, good = numpy.array([1.0, 2.0, 3.0, 4.0]), numpy.array([True, True, False, False])
    measures = {one.name: one for one in rated_measures(rows, ratios, points, counts, good, beta=0.5)}
    found = {name: value(one) for name, one in measures.items()}
    assert found["reward accuracy"] == 1 / 4
    assert found["reward of good answers"] == pytest.approx(0.5 * (3 - 1) / 2)
    assert found["reward of bad answers"] == pytest.approx(0.5 * (2 + 4) / 2)
    assert found["reward margin"] == pytest.approx(0.5 * 1 - 0.5 * 3)
    assert len(measures["reward accuracy"].table) == 3, "a row without an answer does not count"


def test_wins() -> None:
    assert wins(numpy.array([2.0, -1.0, 0.0])).tolist() == [1.0, 0.0, 0.5]
