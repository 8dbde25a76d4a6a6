"""Estimates with 95 % intervals: by hand, and by counting how often they hold the truth."""

from __future__ import annotations

import math

import numpy
import pytest
from numpy.typing import ArrayLike

from burnish.metrics.intervals import Estimate, difference, estimate, proportion
from burnish.metrics.measure import Measure, mean, ratio, value


def loss_of(sums: ArrayLike, counts: ArrayLike) -> Measure:
    """Mean loss per token of rows with so much loss and so many tokens."""
    return ratio("loss", sums, counts, higher_is_better=False, is_share=False)


def test_the_mean_is_per_token() -> None:
    told = estimate(loss_of([3.0, 10.0], [1, 9]))
    assert told.value == pytest.approx(1.3)
    assert told.low == pytest.approx(10 / 9)
    assert told.high == pytest.approx(3.0)


def test_wilson_by_hand() -> None:
    """(p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n), with z = 1.959964."""
    z = 1.959963984540054
    for hits, total in ((8, 10), (0, 20), (20, 20), (37, 200)):
        share, square = hits / total, z * z
        middle = (share + square / (2 * total)) / (1 + square / total)
        half = z * math.sqrt(share * (1 - share) / total + square / (4 * total**2)) / (1 + square / total)
        told = proportion(hits, total)
        assert told.value == share
        assert (told.low, told.high) == pytest.approx((middle - half, middle + half), abs=1e-12)
    assert proportion(8, 10).low == pytest.approx(0.4902, abs=1e-4)
    assert proportion(8, 10).high == pytest.approx(0.9433, abs=1e-4)


def test_wilson_stays_honest_at_the_ends() -> None:
    assert proportion(0, 10).low == 0.0
    assert proportion(0, 10).high > 0.25
    assert proportion(10, 10).high == 1.0
    assert proportion(10, 10).low < 0.75


def test_one_row_shows_nothing() -> None:
    one, other = loss_of([3.0], [2]), loss_of([1.0], [2])
    assert estimate(one) == Estimate(1.5, -math.inf, math.inf)
    assert difference(one, other) == Estimate(-1.0, -math.inf, math.inf)


def test_a_share_of_rows_gets_wilsons_interval() -> None:
    assert estimate(mean("accuracy", [1, 1, 0, 1])) == proportion(3, 4)
    assert estimate(mean("accuracy", [True] * 10)) == proportion(10, 10), "a bootstrap would claim certainty"
    assert estimate(mean("accuracy", [1.0])) == proportion(1, 1), "one row says little, but something"


@pytest.mark.parametrize(
    "measure",
    [
        mean("partly right", [1, 0.5, 0, 1]),
        ratio("precision", [1, 0, 1, 1], [1, 2, 1, 1]),
        mean("errors", [1, 1, 0, 1], is_share=False),
        Measure("other", numpy.array([[1.0, 1.0, 2.0]] * 4), lambda sums: sums[..., 0], True, True),
    ],
    ids=lambda measure: measure.name,
)
def test_anything_else_is_drawn_again(measure: Measure) -> None:
    """Rows that are neither right nor wrong, or count more than once, are no coin tosses."""
    told = estimate(measure)
    drawn = numpy.random.default_rng(9).integers(0, 4, (20_000, 4))
    figures = measure.formula(measure.table[drawn].sum(1))
    low, high = numpy.quantile(figures, (0.025, 0.975))
    assert told.value == value(measure)
    assert (told.low, told.high) == pytest.approx((low, high), abs=0.02)


def test_the_formula_is_taken_of_sums() -> None:
    """A figure that is no mean of rows, such as F1, is computed anew for each draw."""
    source = numpy.random.default_rng(7)
    table = source.integers(0, 4, (80, 2)).astype(float)
    measure = Measure("root", table, lambda sums: numpy.sqrt(sums[..., 0] / sums[..., 1]), True, False)
    inner = Measure("share", table, lambda sums: sums[..., 0] / sums[..., 1], True, False)
    told, under = estimate(measure), estimate(inner)
    assert (told.value, told.low, told.high) == pytest.approx(
        (math.sqrt(under.value), math.sqrt(under.low), math.sqrt(under.high)), rel=1e-3
    )


def test_the_same_rows_give_the_same_interval() -> None:
    source = numpy.random.default_rng(1)
    sums, counts = source.gamma(2, 3, 30), source.integers(1, 20, 30)
    losses = loss_of(sums, counts)
    assert estimate(losses) == estimate(losses)
    assert estimate(losses, seed=1) != estimate(losses, seed=2)


def test_pairing_by_row_makes_the_difference_sharp() -> None:
    """Rows differ far more than the models do: unpaired, the intervals of both overlap; paired, the gain is plain."""
    source = numpy.random.default_rng(2)
    counts = source.integers(5, 40, 60)
    before = counts * source.normal(3, 1, 60)
    after = before - counts * source.normal(0.1, 0.05, 60)
    base, tuned = loss_of(before, counts), loss_of(after, counts)
    assert estimate(tuned).high > estimate(base).low
    gain = difference(base, tuned)
    assert gain.value == pytest.approx((after.sum() - before.sum()) / counts.sum())
    assert gain.low < gain.high < 0


def test_the_difference_of_shares_is_paired_too() -> None:
    """Where the tuned model is right wherever the base is, a few rows more are a gain beyond doubt."""
    base = numpy.array([1] * 50 + [0] * 50)
    tuned = base.copy()
    tuned[50:62] = 1
    gain = difference(mean("accuracy", base), mean("accuracy", tuned))
    assert gain.value == pytest.approx(0.12)
    assert 0 < gain.low < 0.12 < gain.high < 0.25
    shuffled = numpy.random.default_rng(0).permutation(tuned)
    assert difference(mean("accuracy", base), mean("accuracy", shuffled)).low < 0


def test_the_same_rows_differ_by_nothing() -> None:
    losses = loss_of([4.0, 1.0, 7.0], [2, 3, 4])
    assert difference(losses, losses) == Estimate(0.0, 0.0, 0.0)


def coverage(estimates: list[Estimate], truth: float) -> float:
    """Share of intervals that hold the truth."""
    return sum(told.low <= truth <= told.high for told in estimates) / len(estimates)


def test_loss_intervals_hold_the_truth_95_times_in_100() -> None:
    """Rows of 1 to 40 tokens, whose tokens share the row's own difficulty."""
    source = numpy.random.default_rng(3)
    estimates, differences = [], []
    for _ in range(300):
        counts = source.integers(1, 41, 100)
        row_loss = source.gamma(4, 0.5, 100)
        sums = counts * row_loss + source.normal(0, 0.5, 100) * numpy.sqrt(counts)
        base = loss_of(sums, counts)
        tuned = loss_of(sums - counts * source.normal(0.3, 0.4, 100), counts)
        estimates.append(estimate(base))
        differences.append(difference(base, tuned))
    assert 0.92 <= coverage(estimates, 2.0) <= 0.98
    assert 0.92 <= coverage(differences, -0.3) <= 0.98


def test_intervals_over_tokens_would_be_far_too_narrow() -> None:
    """The reason to draw rows: taken as independent, tokens of a row promise what they do not hold."""
    source = numpy.random.default_rng(4)
    rows = [source.normal(row_loss, 0.2, 30) for row_loss in source.gamma(4, 0.5, 50)]
    of_tokens = estimate(loss_of(numpy.concatenate(rows), numpy.ones(1500)))
    of_rows = estimate(loss_of([row.sum() for row in rows], numpy.full(50, 30)))
    assert of_rows.value == pytest.approx(of_tokens.value)
    assert of_rows.high - of_rows.low > 3 * (of_tokens.high - of_tokens.low)


@pytest.mark.parametrize("share", [0.03, 0.5, 0.9])
def test_wilson_intervals_hold_the_truth_95_times_in_100(share: float) -> None:
    source = numpy.random.default_rng(5)
    estimates = [proportion(int(hits), 200) for hits in source.binomial(200, share, 800)]
    assert 0.92 <= coverage(estimates, share) <= 0.98


def test_the_interval_weighs_rows_by_their_tokens() -> None:
    """Half the rows are one costly token, half are a thousand free ones: the mean per token is near 0.01, not 5."""
    told = estimate(loss_of([10.0, 0.0] * 50, [1, 1000] * 50))
    assert told.value == pytest.approx(10 / 1001)
    assert told.low < told.value < told.high < 0.05
