"""Differences against noise: by hand, and by counting how often the intervals hold the truth."""

from __future__ import annotations

import math
import tracemalloc

import numpy
import pytest
from scipy import stats

from burnish.metrics.measure import Measure, mean, ratio, value
from burnish.metrics.significance import Change, Noise, effective_rows, holm, resampled, row_covariance, weigh


def loss_of(sums: numpy.ndarray, counts: numpy.ndarray) -> Measure:
    """Mean loss per token of rows with so much loss and so many tokens."""
    return ratio("loss", sums, counts, higher_is_better=False, is_share=False)


def test_one_source_is_students_t() -> None:
    source = numpy.random.default_rng(0)
    sample = source.normal(0.3, 1, 12)
    plain = stats.ttest_1samp(sample, 0.0)
    low, high = plain.confidence_interval(0.95)
    result = weigh(sample.mean(), [Noise(sample.var(ddof=1) / 12, 11)])
    assert (result.low, result.high, result.chance) == pytest.approx((low, high, plain.pvalue))


def test_two_sources_by_hand() -> None:
    """The quantile is the mean of both, weighed by variance."""
    result = weigh(0.5, [Noise(0.03, 7), Noise(0.01, 2)])
    half = (3 * stats.t.ppf(0.975, 7) + stats.t.ppf(0.975, 2)) / 4 * 0.2
    assert (result.low, result.high) == pytest.approx((0.5 - half, 0.5 + half))
    tail = result.chance / 2
    assert (3 * stats.t.isf(tail, 7) + stats.t.isf(tail, 2)) / 4 == pytest.approx(0.5 / 0.2)


def test_the_chance_and_the_interval_say_the_same() -> None:
    sources = [Noise(0.03, 30), Noise(0.01, 1.5)]
    half = weigh(0.0, sources).high
    assert weigh(half, sources).chance == pytest.approx(0.05)
    assert weigh(0.99 * half, sources).chance > 0.05 > weigh(-1.01 * half, sources).chance
    assert weigh(0.0, sources).chance == 1.0


def test_no_chance_is_called_smaller_than_the_smallest_that_is_computed() -> None:
    assert weigh(1e3, [Noise(0.01, 1e6)]).chance == pytest.approx(2e-12)
    small = weigh(0.7, [Noise(0.01, 1e6)]).chance
    assert small == pytest.approx(2 * stats.t.sf(7.0, 1e6), rel=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 4])
def test_a_source_that_is_hardly_known_makes_no_false_claims(freedom: int) -> None:
    """Three times the noise of the rows, known from few values."""
    source = numpy.random.default_rng(freedom)
    wrong = []
    for _ in range(1500):
        known = [Noise(source.chisquare(39) / 39, 39), Noise(3 * source.chisquare(freedom) / freedom, freedom)]
        wrong.append(weigh(source.normal(0, 2), known).chance <= 0.05)
    assert 0.02 < numpy.mean(wrong) <= 0.05


def test_without_noise_a_difference_is_plain() -> None:
    assert weigh(0.5, [Noise(0.0, 9)]) == Change(0.5, 0.5, 0.5, 0.0)
    assert weigh(0.0, [Noise(0.0, 9)]) == Change(0.0, 0.0, 0.0, 1.0)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.04, 0.01]) == pytest.approx([0.04, 0.02])
    assert holm([0.6, 0.5, 0.9]) == [1.0, 1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_holm_keeps_false_claims_rare_however_many_comparisons() -> None:
    source = numpy.random.default_rng(2)
    wrong = [min(holm(source.random(10).tolist())) <= 0.05 for _ in range(2000)]
    assert 0.03 < numpy.mean(wrong) < 0.065
    unraised = [source.random(10).min() <= 0.05 for _ in range(2000)]
    assert numpy.mean(unraised) > 0.3


def test_resampled_sums() -> None:
    """2,000 draws of as many rows, all equally likely: sums of counts by binomial, of the first row as of the last."""
    table = numpy.eye(5)
    sums = resampled(table, 0)
    assert sums.shape == (2000, 5)
    assert (sums.sum(axis=1) == 5).all()
    assert sums.mean(axis=0) == pytest.approx(numpy.ones(5), abs=0.08)
    assert sums.var(axis=0) == pytest.approx(numpy.full(5, 4 / 5), abs=0.08)


def test_drawing_takes_little_memory_however_many_rows() -> None:
    """Three arrays of 2**18 numbers of 8 bytes at most; all draws of these rows at once would be 64 MB each."""
    tracemalloc.start()
    try:
        sums = resampled(numpy.ones((4000, 1)), 0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (sums == 4000).all()
    assert peak < 3.5 * 8 * 2**18


def test_the_covariance_of_means_by_hand() -> None:
    source = numpy.random.default_rng(3)
    rows = source.normal(0, 1, (50, 1)) + source.normal(0, 0.5, (50, 3))
    measures = [mean("score", rows[:, model], is_share=False) for model in range(3)]
    assert row_covariance(measures) == pytest.approx(numpy.cov(rows.T) / 50, rel=0.12)


def test_resamples_of_few_rows_vary_too_little_and_the_covariance_makes_up_for_it() -> None:
    """By n / (n - 1), which is 4 / 3 here: the variance of a mean of four rows is their unbiased variance over four."""
    rows = numpy.array([[1.0, 3.0], [2.0, 1.0], [4.0, 4.0], [9.0, 2.0]])
    measures = [mean("score", rows[:, model], is_share=False) for model in (0, 1)]
    expected = numpy.cov(rows.T) / 4
    found = row_covariance(measures)
    assert found == pytest.approx(expected, rel=0.08, abs=0.05)
    assert (found == row_covariance(measures, seed=0)).all()
    assert (found != row_covariance(measures, seed=1)).all()
    assert row_covariance(measures[:1]).shape == (1, 1)


def test_the_covariance_of_shares_by_hand() -> None:
    """Of six rows each model gets half a row more of each of four outcomes: right or wrong, together or alone."""
    one, other = numpy.array([1, 1, 1, 0, 0, 0]), numpy.array([1, 1, 0, 1, 1, 0])
    shares = numpy.array([(3 + 1) / 8, (4 + 1) / 8])
    both = numpy.array([[shares[0], (2 + 0.5) / 8], [(2 + 0.5) / 8, shares[1]]])
    expected = (both - numpy.outer(shares, shares)) / 8
    assert row_covariance([mean("accuracy", one), mean("accuracy", other)]) == pytest.approx(expected)
    mixed = row_covariance([mean("accuracy", one), mean("accuracy", other / 2)])
    assert mixed[0, 0] == pytest.approx(numpy.var(one, ddof=1) / 6, rel=0.1), "resampled unless both are shares of rows"


def test_shares_get_half_a_row_more_of_each_outcome() -> None:
    """Agresti and Min (2005): (b + c + 1 - (c - b)^2 / (n + 2)) / (n + 2)^2, for b and c rows that one model alone
    gets right."""
    one = numpy.array([1] * 30 + [0] * 10 + [1] * 3 + [0] * 7)
    other = numpy.array([1] * 30 + [0] * 10 + [0] * 3 + [1] * 7)
    result = row_covariance([mean("accuracy", one), mean("accuracy", other)])
    variance = result[0, 0] + result[1, 1] - 2 * result[0, 1]
    assert variance == pytest.approx((3 + 7 + 1 - (7 - 3) ** 2 / 52) / 52**2)
    alike = row_covariance([mean("accuracy", one), mean("accuracy", one)])
    assert alike[0, 0] + alike[1, 1] - 2 * alike[0, 1] > 0, "models that are right about the same rows may yet part"


def rows_alone(before: Measure, after: Measure) -> Change:
    """The difference of two models against the choice of rows."""
    covariance = row_covariance([before, after])
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return weigh(value(after) - value(before), [Noise(float(variance), effective_rows(before) - 1)])


def coverage(changes: list[Change], truth: float) -> float:
    """Share of intervals that hold the truth."""
    return float(numpy.mean([result.low <= truth <= result.high for result in changes]))


def test_rows_count_by_their_weight() -> None:
    assert effective_rows(mean("accuracy", [1, 0, 1, 1])) == 4
    assert effective_rows(loss_of(numpy.ones(3), numpy.zeros(3))) == 3, "weights that are all 0 are none"
    assert effective_rows(loss_of(numpy.ones(3), numpy.array([1, 1, 4]))) == pytest.approx(36 / 18)
    assert effective_rows(Measure("F1", numpy.ones((7, 3)), lambda sums: sums[..., 0], True, True)) == 7


@pytest.mark.parametrize("rows", [30, pytest.param(100, marks=pytest.mark.slow)])
def test_intervals_of_loss_hold_the_truth_95_times_in_100(rows: int) -> None:
    """Rows of 1 to 40 tokens of very different difficulty; the gain of a row is skewed."""
    source = numpy.random.default_rng(rows)
    changes = []
    for _ in range(1000):
        counts = source.integers(1, 41, rows)
        difficulty = source.gamma(4, 0.5, rows)
        before = loss_of(counts * difficulty, counts)
        after = loss_of(counts * (difficulty - source.gamma(3, 0.1, rows)), counts)
        changes.append(rows_alone(before, after))
    assert 0.93 <= coverage(changes, -0.3) <= 0.97


@pytest.mark.parametrize("parted", [0.04, 0.3])
def test_intervals_of_shares_hold_the_truth_95_times_in_100(parted: float) -> None:
    """Two classifiers that are right about the same rows, but for a share of them."""
    source = numpy.random.default_rng(7)
    changes = []
    for _ in range(1000):
        draws = source.random(150)
        one = draws < 0.8
        other = one ^ (source.random(150) < parted)
        changes.append(rows_alone(mean("accuracy", one), mean("accuracy", other)))
    truth = parted * (0.2 - 0.8)
    assert 0.93 <= coverage(changes, truth) <= 0.97
    assert not math.isnan(changes[0].chance)
