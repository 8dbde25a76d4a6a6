"""Whether a noisy series rises or falls: by hand, by counting orders, and by counting false alarms."""

from __future__ import annotations

import numpy
import pytest
from scipy.special import ndtri
from scipy.stats import ttest_ind

from burnish.engine.curves import blocks, step_between, trend


def test_by_hand() -> None:
    """Of the 120 orders of five values, 1 has no falling pair and 4 have one: as extreme, on both sides, are 10."""
    sureness = -ndtri(10 / 120 / 2)
    assert trend([1.0, 2.0, 4.0, 3.0, 5.0]) == pytest.approx(sureness)
    assert trend([5.0, 3.0, 4.0, 2.0, 1.0]) == pytest.approx(-sureness)


def test_long_series_are_near_the_normal_approximation() -> None:
    """Pairs that rise less those that fall, less 1, over the root of n (n - 1) (2n + 5) / 18 (Kendall 1975)."""
    source = numpy.random.default_rng(0)
    for _ in range(20):
        values = source.normal(size=60)
        pairs = numpy.sign(values[None, :] - values[:, None])[numpy.triu_indices(60, 1)].sum()
        expected = (pairs - numpy.sign(pairs)) / (60 * 59 * 125 / 18) ** 0.5
        assert trend(values.tolist()) == pytest.approx(expected, abs=0.02)


def test_ties_count_for_neither_direction() -> None:
    """A loss that is recorded in coarse steps falls as surely as its order shows: ties narrow what chance can give."""
    coarse = numpy.repeat(numpy.arange(8.0), 5)
    assert trend((-coarse).tolist()) < -7.5


@pytest.mark.parametrize("falls", [28, 26, 24])
def test_short_series_are_exact(falls: int) -> None:
    """Eight values: the false alarm rate of 3 standard deviations is 0.27 %, counted over all 40,320 orders."""
    values = {28: [8, 7, 6, 5, 4, 3, 2, 1], 26: [7, 8, 6, 5, 4, 3, 2, 1], 24: [7, 8, 6, 5, 4, 3, 1, 2]}[falls]
    as_extreme = {28: 1, 26: 1 + 7, 24: 1 + 7 + 27}[falls]
    assert trend([float(value) for value in values]) == pytest.approx(ndtri(as_extreme / 40320))


def test_noise_alone_is_beyond_two_deviations_one_time_in_twenty() -> None:
    source = numpy.random.default_rng(1)
    beyond = sum(abs(trend(source.standard_cauchy(40).tolist())) > 1.96 for _ in range(1000))
    assert 30 <= beyond <= 70


def test_a_long_series_is_averaged_first_and_its_trend_stays() -> None:
    source = numpy.random.default_rng(2)
    values = source.normal(size=5000) - numpy.arange(5000) / 5000
    assert trend(values.tolist()) < -5


@pytest.mark.parametrize("values", [[], [1.0], [3.0, 2.0, 1.0], [2.0] * 10])
def test_nothing_to_report(values: list[float]) -> None:
    assert trend(values) == 0.0


def test_blocks_are_equal_and_leave_out_the_oldest() -> None:
    assert blocks([9.0, 1.0, 3.0, 5.0, 7.0], most=2).tolist() == [5.0]
    assert blocks([1.0, 3.0, 5.0, 7.0], most=2).tolist() == [2.0, 6.0]
    assert blocks([1.0, 2.0]).tolist() == [1.0, 2.0]


def test_a_step_is_welchs() -> None:
    source = numpy.random.default_rng(3)
    before, after = source.normal(1, 1, 12), source.normal(2, 3, 20)
    change, sureness = step_between(before, after)
    assert change == pytest.approx(after.mean() - before.mean())
    assert sureness == pytest.approx(ttest_ind(after, before, equal_var=False).statistic)
    assert step_between([1.0], [2.0, 3.0]) == (0.0, 0.0)
