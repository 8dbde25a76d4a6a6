"""Estimates with 95 % intervals: by hand, and by counting how often they hold the truth."""

from __future__ import annotations

import math

import numpy
import pytest

from burnish.evaluate.intervals import Estimate, mean_loss, mean_loss_difference, proportion


def test_the_mean_is_per_token() -> None:
    estimate = mean_loss(numpy.array([3.0, 10.0]), numpy.array([1, 9]))
    assert estimate.value == pytest.approx(1.3)
    assert estimate.low == pytest.approx(10 / 9)
    assert estimate.high == pytest.approx(3.0)


def test_wilson_by_hand() -> None:
    """(p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n), with z = 1.959964."""
    z = 1.959963984540054
    for hits, total in ((8, 10), (0, 20), (20, 20), (37, 200)):
        share, square = hits / total, z * z
        middle = (share + square / (2 * total)) / (1 + square / total)
        half = z * math.sqrt(share * (1 - share) / total + square / (4 * total**2)) / (1 + square / total)
        estimate = proportion(hits, total)
        assert estimate.value == share
        assert (estimate.low, estimate.high) == pytest.approx((middle - half, middle + half), abs=1e-12)
    assert proportion(8, 10).low == pytest.approx(0.4902, abs=1e-4)
    assert proportion(8, 10).high == pytest.approx(0.9433, abs=1e-4)


def test_wilson_stays_honest_at_the_ends() -> None:
    assert proportion(0, 10).low == 0.0
    assert proportion(0, 10).high > 0.25
    assert proportion(10, 10).high == 1.0
    assert proportion(10, 10).low < 0.75


def test_one_row_shows_nothing() -> None:
    estimate = mean_loss(numpy.array([3.0]), numpy.array([2]))
    assert (estimate.value, estimate.low, estimate.high) == (1.5, -math.inf, math.inf)


def test_perplexity_is_the_exponential_of_all_three() -> None:
    assert Estimate(0.0, -math.inf, math.log(2)).exp() == Estimate(1.0, 0.0, pytest.approx(2.0))
    assert math.isfinite(Estimate(9999.0, 9999.0, math.inf).exp().high)


def test_the_same_rows_give_the_same_interval() -> None:
    source = numpy.random.default_rng(1)
    sums, counts = source.gamma(2, 3, 30), source.integers(1, 20, 30)
    assert mean_loss(sums, counts) == mean_loss(sums, counts)
    assert mean_loss(sums, counts, seed=1) != mean_loss(sums, counts, seed=2)


def test_pairing_by_row_makes_the_difference_sharp() -> None:
    """Rows differ far more than the models do: unpaired, the intervals of both overlap; paired, the gain is plain."""
    source = numpy.random.default_rng(2)
    counts = source.integers(5, 40, 60)
    base = counts * source.normal(3, 1, 60)
    tuned = base - counts * source.normal(0.1, 0.05, 60)
    assert mean_loss(tuned, counts).high > mean_loss(base, counts).low
    difference = mean_loss_difference(base, tuned, counts)
    assert difference.value == pytest.approx((tuned.sum() - base.sum()) / counts.sum())
    assert difference.low < difference.high < 0


def coverage(estimates: list[Estimate], truth: float) -> float:
    """Share of intervals that hold the truth."""
    return sum(estimate.low <= truth <= estimate.high for estimate in estimates) / len(estimates)


def test_loss_intervals_hold_the_truth_95_times_in_100() -> None:
    """Rows of 1 to 40 tokens, whose tokens share the row's own difficulty."""
    source = numpy.random.default_rng(3)
    estimates, differences = [], []
    for _ in range(600):
        counts = source.integers(1, 41, 100)
        row_loss = source.gamma(4, 0.5, 100)
        sums = counts * row_loss + source.normal(0, 0.5, 100) * numpy.sqrt(counts)
        estimates.append(mean_loss(sums, counts))
        tuned = sums - counts * source.normal(0.3, 0.4, 100)
        differences.append(mean_loss_difference(sums, tuned, counts))
    assert 0.92 <= coverage(estimates, 2.0) <= 0.98
    assert 0.92 <= coverage(differences, -0.3) <= 0.98


def test_intervals_over_tokens_would_be_far_too_narrow() -> None:
    """The reason to draw rows: taken as independent, tokens of a row promise what they do not hold."""
    source = numpy.random.default_rng(4)
    rows = [source.normal(row_loss, 0.2, 30) for row_loss in source.gamma(4, 0.5, 50)]
    of_tokens = mean_loss(numpy.concatenate(rows), numpy.ones(1500, dtype=int))
    of_rows = mean_loss(numpy.array([row.sum() for row in rows]), numpy.full(50, 30))
    assert of_rows.value == pytest.approx(of_tokens.value)
    assert of_rows.high - of_rows.low > 3 * (of_tokens.high - of_tokens.low)


@pytest.mark.parametrize("share", [0.03, 0.5, 0.9])
def test_wilson_intervals_hold_the_truth_95_times_in_100(share: float) -> None:
    source = numpy.random.default_rng(5)
    estimates = [proportion(int(hits), 200) for hits in source.binomial(200, share, 800)]
    assert 0.92 <= coverage(estimates, share) <= 0.98


def test_the_interval_weighs_rows_by_their_tokens() -> None:
    """Half the rows are one costly token, half are a thousand free ones: the mean per token is near 0.01, not 5."""
    estimate = mean_loss(numpy.array([10.0, 0.0] * 50), numpy.array([1, 1000] * 50))
    assert estimate.value == pytest.approx(10 / 1001)
    assert estimate.low < estimate.value < estimate.high < 0.05
