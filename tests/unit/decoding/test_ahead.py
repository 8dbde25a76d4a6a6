"""How many guessed tokens are checked at a step."""

from __future__ import annotations

import pytest

from burnish.decoding.ahead import Pace, num_ahead


def paced(once: float, each: float, sizes: tuple[int, ...]) -> Pace:
    """A pace that has seen steps of some sizes, first and again."""
    pace = Pace()
    for _ in range(60):
        for tokens in sizes:
            pace.note(tokens, once + each * tokens)
    return pace


@pytest.mark.parametrize(("once", "each"), [(1.0, 0.0), (1.0, 0.01), (0.0, 1.0), (0.2, 0.05)])
def test_the_cost_of_a_step_is_that_of_the_steps_seen(once: float, each: float) -> None:
    pace = paced(once, each, (8, 16, 40))
    assert pace.cost(64, 8) == pytest.approx((once + 64 * each) / (once + 8 * each), rel=0.1)


def test_the_first_step_of_a_size_says_nothing() -> None:
    pace = paced(1.0, 0.01, (8,))
    before = pace.cost(16, 8)
    pace.note(16, 1000.0)
    assert pace.cost(16, 8) == before
    for _ in range(3):
        pace.note(16, 5.0)
    assert pace.cost(16, 8) > 1.5 * before


def test_a_step_that_was_slow_once_is_forgotten() -> None:
    pace = paced(1.0, 0.01, (8, 32))
    for _ in range(2):
        pace.note(64, 20.0)
    assert pace.cost(64, 8) > 4
    for _ in range(200):
        pace.note(8, 1.08)
    assert pace.cost(64, 8) < 2.5


def chances(rate: float, number: int = 15) -> list[float]:
    """Those of guesses of which each is right as often."""
    return [rate**ahead for ahead in range(1, number + 1)]


def test_guesses_are_checked_as_long_as_they_pay() -> None:
    free, dear = paced(1.0, 0.0, (8, 16, 64)), paced(0.0, 1.0, (8, 16, 64))
    sure = chances(1.0)
    assert num_ahead([sure] * 8, free) == 15
    assert num_ahead([sure] * 8, paced(1.0, 0.01, (8, 16, 64))) == 15
    assert num_ahead([chances(0.5)] * 8, dear) == 0, "each token takes as long as a step of it alone"
    assert num_ahead([sure, *[[]] * 7], dear) == 0
    assert num_ahead([chances(1.0, 3), *[[]] * 7], free) == 3
    some = num_ahead([chances(0.6)] * 8, paced(1.0, 0.02, (8, 16, 64)))
    assert 1 <= some <= 6
    assert num_ahead([[], []], free) == 0


def test_several_rows_check_guesses_that_make_them_clearly_faster() -> None:
    pace = paced(1.0, 0.0, (8, 16, 64))
    assert num_ahead([chances(0.2, 1)], pace) == 1, "a fifth more, for one row"
    assert num_ahead([chances(0.2, 1)] * 8, pace) == 0
    assert num_ahead([chances(0.3, 1)] * 8, pace) == 1
    assert num_ahead([[0.2, 0.1, 0.05]] * 8, pace) == 3, "all of them together"
