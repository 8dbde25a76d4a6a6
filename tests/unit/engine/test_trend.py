"""Whether a noisy series rises or falls: by hand, by scipy, and by counting false alarms."""

from __future__ import annotations

import numpy
import pytest
from scipy.stats import kendalltau, ttest_ind

from burnish.engine.curves import blocks, step_between, trend


def test_by_hand() -> None:
    """Of 10 pairs 9 rise and 1 falls: 8, less 1, over the root of 5 x 4 x 15 / 18."""
    assert trend([1.0, 2.0, 4.0, 3.0, 5.0]) == pytest.approx(7 / (300 / 18) ** 0.5)
    assert trend([5.0, 3.0, 4.0, 2.0, 1.0]) == pytest.approx(-7 / (300 / 18) ** 0.5)


def test_its_sign_is_that_of_kendalls_tau() -> None:
    source = numpy.random.default_rng(0)
    for _ in range(20):
        values = source.normal(size=30)
        tau = kendalltau(numpy.arange(30), values).statistic
        pairs = tau * 30 * 29 / 2
        assert trend(values.tolist()) == pytest.approx((pairs - numpy.sign(pairs)) / (30 * 29 * 65 / 18) ** 0.5)


def test_noise_alone_is_beyond_two_deviations_one_time_in_twenty() -> None:
    source = numpy.random.default_rng(1)
    beyond = sum(abs(trend(source.standard_cauchy(40).tolist())) > 1.96 for _ in range(2000))
    assert 60 <= beyond <= 140


def test_a_long_series_is_averaged_first_and_its_trend_stays() -> None:
    source = numpy.random.default_rng(2)
    values = source.normal(size=5000) - numpy.arange(5000) / 5000
    assert trend(values.tolist()) < -5


@pytest.mark.parametrize("values", [[], [1.0], [3.0, 2.0, 1.0], [2.0] * 10])
def test_nothing_to_tell(values: list[float]) -> None:
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
