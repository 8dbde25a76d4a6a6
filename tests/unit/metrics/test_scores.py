"""Metrics of predicted numbers beside scipy's, and intervals that hold the truth."""

from __future__ import annotations

import warnings

import numpy
import pytest
from scipy.stats import pearsonr, spearmanr

from burnish.metrics.intervals import difference, estimate
from burnish.metrics.measure import Measure, value
from burnish.metrics.scores import mean_loss, pearson, score_measures, spearman


def drawn(seed: int, rows: int, correlation: float, ties: bool = False) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Two correlated normal samples, the first one rounded to few values where ties are wanted."""
    generator = numpy.random.default_rng(seed)
    x = generator.normal(size=rows)
    y = correlation * x + numpy.sqrt(1 - correlation**2) * generator.normal(size=rows)
    return (numpy.clip(numpy.round(1.5 * x), -2, 2) if ties else x), y


def by_name(gold: numpy.ndarray, predicted: numpy.ndarray) -> dict[str, Measure]:
    return {measure.name: measure for measure in score_measures(gold, predicted)}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_the_values_are_those_of_scipy(ties: bool, offset: float) -> None:
    x, y = drawn(1, 60, 0.7, ties)
    found = by_name(x + offset, 3 * y + offset)
    assert value(found["Pearson r"]) == pytest.approx(pearsonr(x, y)[0], abs=1e-9)
    assert value(found["Spearman rho"]) == pytest.approx(spearmanr(x, y)[0], abs=1e-9)
    assert value(found["MAE"]) == pytest.approx(numpy.abs(x - 3 * y).mean())
    assert not found["MAE"].higher_is_better


@pytest.mark.parametrize(("x", "y"), [([1, 2, 3], [5, 5, 5]), ([1, 1], [1, 2]), ([1], [2]), ([], [])], ids=str)
def test_a_constant_side_has_no_correlation(x: list[float], y: list[float]) -> None:
    assert [value(one) for one in score_measures(x, y)[1:]] == [0.0, 0.0]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_perfect_order_is_one(sign: int) -> None:
    x = numpy.arange(20.0)
    rank = estimate(spearman(x, sign * x**3))
    assert rank.value == pytest.approx(sign, abs=1e-6)
    assert -1 <= rank.low <= rank.high <= 1


@pytest.mark.parametrize(("correlation", "rows", "ties"), [(0.0, 50, False), (0.9, 30, False), (0.7, 80, True)])
def test_intervals_hold_the_truth(correlation: float, rows: int, ties: bool) -> None:
    everything = drawn(99, 200_000, correlation, ties)
    for measure, true in ((pearson, pearsonr(*everything)[0]), (spearman, spearmanr(*everything)[0])):
        intervals = [estimate(measure(*drawn(seed, rows, correlation, ties))) for seed in range(60)]
        assert sum(one.low <= true <= one.high for one in intervals) >= 53


def test_a_better_order_is_shown_on_the_same_rows() -> None:
    x, good = drawn(3, 80, 0.95)
    _, bad = drawn(4, 80, 0.0)
    for measure in (pearson, spearman):
        assert difference(measure(x, bad), measure(x, good)).low > 0


def test_what_is_better_and_what_the_limits_are() -> None:
    found = by_name(numpy.arange(4.0), numpy.array([2.0, 0.0, 1.0, 3.0]))
    assert {name: (one.higher_is_better, one.is_share, one.least, one.most) for name, one in found.items()} == {
        "MAE": (False, False, 0.0, numpy.inf),
        "Pearson r": (True, False, -1.0, 1.0),
        "Spearman rho": (True, False, -1.0, 1.0),
    }
    loss = mean_loss([1.0, 2.0], 1.0)
    assert (loss.name, loss.higher_is_better, loss.is_share) == ("loss", False, False)


def test_no_rows_are_no_reason_to_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [value(one) for one in score_measures([], [])] == [0.0, 0.0, 0.0]
        assert value(mean_loss([], 1.0)) == 0.0


@pytest.mark.parametrize("scale", [1e-120, 1e120])
def test_numbers_may_be_of_any_size(scale: float) -> None:
    """The product of their squares would be no number any more."""
    x, y = drawn(1, 30, 0.7)
    assert value(pearson(scale * x, y)) == pytest.approx(pearsonr(x, y)[0])
    assert value(pearson(x, scale * y)) == pytest.approx(pearsonr(x, y)[0])


def test_the_correlation_of_rows_that_are_nearly_the_same() -> None:
    """In a resample: at least as far apart as rounding, they are in order; nearer, r is still from -1 to 1."""
    x = numpy.array([0.0, 1e-3, 1000.0])
    for sign in (1, -1):
        measure = pearson(x, sign * x)
        assert float(measure.formula(measure.table[:2].sum(0))) == pytest.approx(sign, abs=0.01)
    source = numpy.random.default_rng(0)
    gold, predicted = 1e-8 * source.normal(size=(2, 400))
    gold[:2], predicted[:2] = [-1.0, 1.0], [-1.0, 1.0]
    table = pearson(gold, predicted).table
    found = pearson(gold, predicted).formula(table[2:-1] + table[3:])
    assert (found.min(), found.max()) == (-1.0, 1.0)


def weighted_rho(x: numpy.ndarray, y: numpy.ndarray, weights: numpy.ndarray) -> float:
    """Spearman's rho if each row is there as often as its weight says; ranks are mid-ranks."""

    def ranks(side: numpy.ndarray) -> numpy.ndarray:
        below, same = (compare(side[None, :], side[:, None]) @ weights for compare in (numpy.less, numpy.equal))
        return (below + same / 2) / weights.sum()

    one, other = (ranks(side) - 0.5 for side in (x, y))
    return float((weights * one * other).sum() / numpy.sqrt((weights * one**2).sum() * (weights * other**2).sum()))


@pytest.mark.parametrize("ties", [False, True])
def test_the_influence_of_a_row_is_what_a_little_more_of_it_changes(ties: bool) -> None:
    """On Fisher's scale, by differences."""
    x, y = drawn(5, 12, 0.6, ties)
    assert weighted_rho(x, y, numpy.ones(12)) == pytest.approx(spearmanr(x, y)[0])
    little, found = 1e-6, spearman(x, y).table[:, 0]
    for row in range(12):
        more, less = (numpy.full(12, (1 - step) / 12) + step * (numpy.arange(12) == row) for step in (little, -little))
        slope = (numpy.arctanh(weighted_rho(x, y, more)) - numpy.arctanh(weighted_rho(x, y, less))) / (2 * little)
        assert found[row] - found.mean() == pytest.approx(slope, abs=1e-6)
    assert found.mean() == pytest.approx(numpy.arctanh(spearmanr(x, y)[0]))


def test_the_mean_has_a_loss_of_one_in_units_of_the_spread() -> None:
    gold = numpy.array([1.0, 2.0, 3.0, 6.0])
    assert value(mean_loss(gold, float(gold.std()))) == pytest.approx(1.0)
    assert value(mean_loss([], 1.0)) == 0.0
