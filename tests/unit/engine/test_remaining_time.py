"""What a run will still take, from made-up times."""

from __future__ import annotations

import pytest

from burnish.engine.progress import RemainingTime


def run_steps(
    pace: RemainingTime, tokens: list[int], rate: float, upto: int, validation: float = 0.0, every: int = 4
) -> None:
    """Steps of `rate` seconds a token, and validations of always the same length; the one of the base comes first."""
    if validation:
        pace.validated(0, validation, False)
    for step in range(upto):
        pace.step_done(step, rate * tokens[step])
        if validation and (step + 1) % every == 0 and step + 1 < upto:
            pace.validated(step + 1, validation, True)


def test_uneven_steps_take_as_long_as_their_tokens() -> None:
    tokens = [100, 300, 50, 800, 20, 400]
    pace = RemainingTime(tokens, 0, 2, 2)
    assert pace.seconds_left(0) == 0.0, "nothing is known yet"
    for done in range(1, 7):
        pace.step_done(done - 1, 0.01 * tokens[done - 1])
        assert pace.seconds_left(done) == pytest.approx(0.01 * sum(tokens[done:]))


def test_the_first_step_is_left_out_once_there_are_three() -> None:
    pace = RemainingTime([100] * 10, 0, 10, 10)
    pace.step_done(0, 9.0)
    pace.step_done(1, 1.0)
    assert pace.seconds_left(2) == pytest.approx(8 * 5.0)
    pace.step_done(2, 1.0)
    assert pace.seconds_left(3) == pytest.approx(7 * 1.0)
    pace.step_done(3, 2.0)
    assert pace.seconds_left(4) == pytest.approx(6 * 4 / 3)


@pytest.mark.parametrize(
    ("total", "every", "done", "left"),
    [
        (12, 4, 1, 3),
        (12, 4, 4, 3),
        (12, 4, 5, 2),
        (12, 4, 12, 1),
        (10, 4, 8, 2),
        (10, 4, 9, 1),
        (3, 9, 1, 1),
        (6, 1, 1, 6),
    ],
)
def test_validations_to_come_are_counted(total: int, every: int, done: int, left: int) -> None:
    """That of the step itself is still to come; the last step is evaluated whatever the rhythm."""
    tokens = [10] * total
    pace = RemainingTime(tokens, 50, every, total)
    run_steps(pace, tokens, 0.1, done, validation=7.0, every=every)
    assert pace.seconds_left(done) == pytest.approx(1.0 * (total - done) + 7.0 * left)


def test_before_the_first_validation_it_is_taken_from_the_steps() -> None:
    """A resumed run has evaluated nothing yet: 600 tokens forward take a third of a step's time for as many."""
    pace = RemainingTime([100] * 8, 600, 4, 8)
    pace.step_done(4, 3.0)
    assert pace.seconds_left(5) == pytest.approx(3 * 3.0 + 1 * 600 * 0.03 / 3)
    pace.validated(8, 5.0, False)
    assert pace.seconds_left(5) == pytest.approx(3 * 3.0 + 5.0)


def test_the_first_validation_is_left_out_once_there_is_another() -> None:
    pace = RemainingTime([100] * 8, 600, 2, 8)
    pace.step_done(0, 1.0)
    pace.validated(0, 50.0, False)
    assert pace.seconds_left(2) == pytest.approx(6.0 + 4 * 50.0)
    pace.validated(2, 4.0, True)
    assert pace.seconds_left(3) == pytest.approx(5.0 + 3 * 4.0)


def test_checkpoints_that_are_due_are_counted_once_they_are_known() -> None:
    pace = RemainingTime([10] * 10, 0, 5, 3)
    pace.step_done(0, 1.0)
    assert pace.seconds_left(1) == pytest.approx(9.0)
    pace.saved(2.0)
    assert pace.seconds_left(1) == pytest.approx(9.0 + 4 * 2.0), "steps 3, 6, 9 and the last"
    assert pace.seconds_left(10) == pytest.approx(2.0)


def test_checkpoints_of_better_validations_come_as_often_as_before() -> None:
    """Validations at 2, 4, 6 … 12; checkpoints at 6 and 12 by their rhythm. Half of the validations were best."""
    pace = RemainingTime([10] * 12, 10, 2, 6)
    pace.step_done(0, 1.0)
    pace.validated(0, 1.0, False)
    pace.saved(3.0)
    pace.validated(2, 1.0, True)
    pace.validated(4, 1.0, False)
    validations, due, extra = 4, 2, 2  # from step 5 on: 6, 8, 10, 12; of these 6 and 12 are saved anyhow
    assert pace.seconds_left(5) == pytest.approx(7.0 + validations + 3.0 * (due + extra * 2 / 4))


def test_a_validation_after_the_first_step_is_one_of_trained_weights() -> None:
    """Saves of better validations: of one, one was the best, so two of three are expected to be, by Laplace's rule."""
    pace = RemainingTime([10] * 4, 10, 1, 4)
    pace.step_done(0, 1.0)
    pace.saved(3.0)
    pace.validated(1, 1.0, True)
    assert pace.seconds_left(2) == pytest.approx(2.0 + 3 * 1.0 + 3.0 * (1 + 2 * 2 / 3))


def test_steps_of_a_single_token_have_a_pace_too() -> None:
    """Where the sizes of steps are not known, each may count as one."""
    pace = RemainingTime([1] * 4, 0, 4, 4)
    assert pace.seconds_per_token() == 0.0
    pace.step_done(0, 3.0)
    assert pace.seconds_per_token() == 3.0
    assert pace.seconds_left(1) == 9.0


def test_other_micro_batches_begin_the_measure_again() -> None:
    pace = RemainingTime([100] * 6, 40, 6, 6)
    pace.validated(0, 2.0, False)
    for step in range(3):
        pace.step_done(step, 1.0)
    pace.replan([80] * 6)
    pace.step_done(3, 4.0)
    assert pace.seconds_left(4) == pytest.approx(2 * 4.0 + 2.0), "validations are remembered"


def test_only_the_latest_steps_count_in_a_long_run() -> None:
    """A machine that has become slower."""
    pace = RemainingTime([10] * 1000, 0, 1000, 1000)
    for step in range(500):
        pace.step_done(step, 1.0 if step < 300 else 3.0)
    assert pace.seconds_left(500) == pytest.approx(500 * 3.0)
