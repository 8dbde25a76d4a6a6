"""What the curves of a run hold, and where the limits of outliers and trends are, by hand."""

from __future__ import annotations

import math

import pytest
from scipy.special import ndtri

from burnish.engine.curves import FEWEST, WINDOW, Change, Curves, blocks, change, step_between, trend
from burnish.runs.events import Note, StoppedEarly, TrainingStarted, Validated
from tests.unit.engine.made_curves import step_done
from tests.unit.engine.test_outliers import observe_all

TWO_LEVELS = [1.9, 2.1] * (FEWEST // 2)
"""Median 2, and half of the values at a distance of 0.1 on either side."""


def made_curves(*validations: tuple[int, float], steps: int = 12, total: int = 12) -> Curves:
    """Curves of falling losses, with a rate of 1 in every step."""
    curves = Curves(total, 0)
    for step in range(1, steps + 1):
        curves.take(step_done(step, 10.0 - step, rate=1.0, norm=0.5 * step))
    for step, loss in validations:
        curves.take(Validated(step, loss, {}, False, 0.1))
    return curves


def test_a_hundred_blocks_at_most() -> None:
    assert len(blocks([float(value) for value in range(100)])) == 100
    assert blocks([float(value) for value in range(101)]).tolist() == [1.5 + 2 * value for value in range(50)]


def test_four_values_have_a_trend_and_three_have_none() -> None:
    """Of the 24 orders of four values, one falls throughout and one rises throughout."""
    assert trend([4.0, 3.0, 2.0, 1.0]) == pytest.approx(ndtri(1 / 24))
    assert trend([4.0, 3.0, 2.0]) == 0.0


def test_a_step_between_two_pairs() -> None:
    """Both variances are 2, so the standard error of the difference is the root of 2 / 2 + 2 / 2."""
    assert step_between([1.0, 3.0], [4.0, 6.0]) == (3.0, pytest.approx(3 / math.sqrt(2)))
    assert step_between([1.0, 3.0], [4.0]) == (0.0, 0.0)
    assert step_between([1.0, 1.0], [2.0, 2.0]) == (1.0, pytest.approx(1e12))


@pytest.mark.parametrize(
    ("before", "usual", "border"),
    [
        (TWO_LEVELS, 2.0, 2.0 + 6 * 1.4826 * 0.1),
        ([10.0] * FEWEST, 10.0, 10.0 + 6 * 0.02 * 10.0),
        ([0.1] * FEWEST, 0.1, 0.1 + 6 * 0.05),
    ],
    ids=["six deviations", "at least 2 % of the median", "at least 0.05"],
)
def test_a_loss_stands_out_beyond_six_deviations(before: list[float], usual: float, border: float) -> None:
    assert observe_all([*before, border - 1e-3]) == {}
    ((outlier,),) = observe_all([*before, border + 1e-3]).values()
    assert (outlier.what, outlier.usual) == ("loss", pytest.approx(usual))


def test_a_gradient_norm_stands_out_on_its_logarithm_too() -> None:
    """Of norms of 1 the logarithm is 0, with a spread of at least 0.02; norms of 0 have no logarithm."""
    border = math.exp(6 * 0.02)
    for norms, is_found in [
        ([1.0] * FEWEST + [border - 1e-3], False),
        ([1.0] * FEWEST + [border + 1e-3], True),
        ([0.0] * FEWEST + [5e-12], False),
        ([0.0] * FEWEST + [7e-12], True),
    ]:
        found = observe_all([2.0] * len(norms), norms)
        assert [one.what for one in found.get(FEWEST + 1, [])] == ["gradient norm"] * is_found


def test_the_last_fifty_steps_are_what_is_usual() -> None:
    """With one step more or less, the median would be one of the two levels."""
    half = WINDOW // 2
    ((outlier,),) = observe_all([9.0] * 5 + [1.9] * half + [2.1] * half + [5.0]).values()
    assert outlier.usual == 2.0


def test_the_last_step_of_the_warmup_is_not_remembered() -> None:
    for count, is_found in [(FEWEST - 1, False), (FEWEST, True)]:
        assert bool(observe_all([2.0] * (3 + count) + [9.0], warmup=3)) == is_found


def test_what_is_recorded() -> None:
    curves = made_curves((0, 5.0), (4, 3.0), (8, 2.0), (12, 2.0))
    curves.take(Note("nothing of a curve"))
    assert (curves.step, curves.losses[:2], curves.rates[:2], curves.norms[:2]) == (12, [9.0, 8.0], [1, 1], [0.5, 1.0])
    assert curves.base is not None
    assert curves.last is not None
    assert curves.lowest is not None
    assert (curves.base.step, curves.last.step, curves.lowest.step) == (0, 12, 8), "the first of equal ones"
    curves.take(TrainingStarted(0, 30, 3.0))
    assert (curves.total_steps, curves.is_over) == (30, False)
    curves.take(StoppedEarly(12, "no better"))
    assert (curves.has_stopped, curves.is_over) == (True, True)


def test_a_run_is_over_after_the_validation_of_its_last_step() -> None:
    assert not made_curves(steps=11).is_over
    assert made_curves().is_over, "nothing is validated"
    assert not made_curves((0, 5.0)).is_over
    assert not made_curves((0, 5.0), (8, 4.0)).is_over
    assert made_curves((0, 5.0), (8, 4.0), (12, 4.0)).is_over
    empty = Curves(12, 0)
    assert (empty.step, empty.last, empty.lowest, empty.is_over) == (0, None, None, False)


def test_a_window_is_a_tenth_of_the_steps_and_at_least_eight() -> None:
    assert [made_curves(steps=steps).window() for steps in (1, 80, 89, 90, 99, 100)] == [8, 8, 8, 9, 9, 10]


def test_steps_by_the_share_of_the_summed_rate() -> None:
    """Four steps of equal rate; then three of which the first has half of the sum."""
    curves = made_curves(steps=4)
    assert [curves.step_at(share) for share in (0.1, 0.25, 0.49, 0.5, 1.0)] == [1, 1, 1, 2, 4]
    curves = Curves(3, 0)
    for step, rate in enumerate([2.0, 1.0, 1.0], 1):
        curves.take(step_done(step, 1.0, rate=rate))
    assert [curves.step_at(share) for share in (0.5, 0.75)] == [1, 2]


def test_losses_before_and_after_a_step() -> None:
    curves = made_curves(steps=4)
    assert (curves.until(2), curves.after(2)) == ([9.0, 8.0], [7.0, 6.0])


def test_a_change_in_standard_errors() -> None:
    """A 95 % interval is 2 × 1.96 standard errors wide."""
    assert Change(3.0, 0.0, 3.92).z_score == pytest.approx(3.0)
    assert Change(1.0, 1.0, 1.0).z_score == pytest.approx(1e12)
    assert str(Change(-0.1234, -0.15, 0.1)) == "-0.123 (95 % interval -0.150 to +0.100)"
    assert change(Validated(4, 2.0, {}, False, 0.1, {"base": [-1.0, -2.0, 0.5]}), "base") == Change(-1.0, -2.0, 0.5)
    assert change(Validated(4, 2.0, {}, False, 0.1), "base") is None
    assert change(None, "base") is None
