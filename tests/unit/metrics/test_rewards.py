"""Metrics of rewards, by hand."""

from __future__ import annotations

import numpy
import pytest

from burnish.metrics.measure import value
from burnish.metrics.rewards import DRIFT, pair_measures, rated_measures, wins


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
    assert found[DRIFT] == pytest.approx((3 - 1 + 2 + 4) / (1 + 2 + 3 + 4))
    assert measures["reward accuracy"].table.tolist() == [[1.0, 2.0], [0.0, 1.0], [0.0, 1.0]]
    gap = [[2.0 * 0.5, 2.0, 0.0, 0.0], [0.0, 0.0, 2.0 * 0.5, 1.0], [0.0, 0.0, 4.0 * 0.5, 1.0]]
    assert measures["reward margin"].table.tolist() == gap
    lower = {"reward of bad answers", DRIFT}
    assert {name for name, one in measures.items() if not one.higher_is_better} == lower
    assert [name for name, one in measures.items() if one.is_share] == ["reward accuracy"]
    assert len(measures["reward accuracy"].table) == 3, "a row without an answer does not count"


def test_wins() -> None:
    assert wins(numpy.array([2.0, -1.0, 0.0])).tolist() == [1.0, 0.0, 0.5]


def test_no_rated_answers() -> None:
    none = numpy.zeros(0)
    measures = rated_measures([], none, none, none, none.astype(bool), beta=0.5)
    assert [(len(one.table), value(one)) for one in measures] == [(0, 0.0)] * 5


SUMS = numpy.array([[-4.0, -6.0], [-9.0, -3.0], [-2.0, -2.0]])
COUNTS = numpy.array([[2.0, 3.0], [3.0, 1.0], [4.0, 2.0]])
REFERENCES = numpy.array([[-5.0, -4.0], [-9.0, -6.0], [-2.0, -2.0]])


@pytest.mark.parametrize(
    ("references", "by_token", "accuracy", "margin"),
    [
        # log-ratios 1, -2; 0, 3; 0, 0: margins 3, -3, 0
        (REFERENCES, False, 1.5 / 3, 0.5 * (3 - 3 + 0) / 3),
        (REFERENCES, True, 1.5 / 3, 0.5 * ((1 / 2 + 2 / 3) + (0 - 3) + 0) / 3),
        # log-probabilities -4, -6; -9, -3; -2, -2
        (None, False, 1.5 / 3, 0.5 * (2 - 6 + 0) / 3),
        # for each token -2, -2; -3, -3; -1/2, -1
        (None, True, (0.5 + 0.5 + 1) / 3, 0.5 * (0 + 0 + 0.5) / 3),
    ],
)
def test_pairs_by_hand(references: numpy.ndarray | None, by_token: bool, accuracy: float, margin: float) -> None:
    measures = pair_measures(SUMS, COUNTS, references, 0.5, by_token)
    names = ["reward accuracy", "reward margin"] + [DRIFT] * (references is not None)
    assert [one.name for one in measures] == names
    assert value(measures[0]) == pytest.approx(accuracy)
    assert value(measures[1]) == pytest.approx(margin)
    assert [(one.higher_is_better, one.is_share) for one in measures] == [(True, True), (True, False), (False, False)][
        : len(names)
    ]
    if references is not None:
        assert value(measures[2]) == pytest.approx((1 - 2 + 0 + 3 + 0 + 0) / COUNTS.sum())
