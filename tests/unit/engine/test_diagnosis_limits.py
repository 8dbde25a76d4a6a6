"""Where each diagnosis begins and ends: curves on the limit, and just beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from burnish.engine import diagnosis
from burnish.engine.curves import Curves
from burnish.engine.diagnosis import (
    Diagnosis,
    ending_at_chance,
    guessing,
    has_gained_little,
    is_crawling,
    is_guessing,
    learning,
    overfitting,
    stalled,
    underfitting,
)
from burnish.engine.divergence import diverging, exploded
from burnish.recipe.schema import EvaluateSection
from burnish.runs.events import TrainingStarted, Validated
from tests.snapshots import check_text
from tests.unit.engine.made_curves import made_recipe, step_done

BASE = 100.0
"""Loss of the base model: a hundredth and a twentieth of it are exact."""


def validated(step: int, loss: float, **changes: Sequence[float]) -> Validated:
    """A validation, with the differences and their intervals."""
    return Validated(step, loss, {}, False, 0.1, {name: list(three) for name, three in changes.items()})


def made(losses: Sequence[float], *validations: Validated, total: int = 0, warmup: int = 0, base: Any = BASE) -> Curves:
    """Curves with these training losses and validations, of a constant learning rate; `total` 0 is what was done."""
    curves = Curves(total or len(losses), warmup)
    if base is not None:
        curves.take(validated(0, base))
    for step, loss in enumerate(losses, 1):
        curves.take(step_done(step, loss, rate=1.0))
    for validation in validations:
        curves.take(validation)
    return curves


FALLING = [BASE - step for step in range(20)]
FLAT = [BASE] * 20


# learning


@pytest.mark.parametrize(
    ("change", "is_learning"),
    [([-2.0, -4.0, 0.0], False), ([-2.0, -4.0, -0.01], True), ([-1.0, -1.5, -0.5], True), ([-0.99, -1.5, -0.5], False)],
)
def test_a_gain_counts_if_it_is_significant_and_at_least_a_hundredth(change: list[float], is_learning: bool) -> None:
    curves = made(FALLING, validated(10, BASE + change[0]), validated(20, BASE + change[0], base=change))
    assert (learning(curves) is not None) == is_learning


@pytest.mark.parametrize(("found", "is_learning"), [(0.25, True), (0.24, False), (None, True)])
@pytest.mark.parametrize("is_share", [True, False])
def test_a_low_loss_is_no_learning_where_the_answers_are_lost(
    found: float | None, is_learning: bool, is_share: bool
) -> None:
    """Half of what the base model could do has to be left."""
    curves = made(FALLING, validated(10, 60.0), validated(20, 50.0, base=[-50.0, -51.0, -49.0]))
    assert curves.base is not None
    figures = [{"F1": 0.5}, {} if found is None else {"F1": found}]
    base, last = (
        replace(one, headline="F1", is_share=is_share, figures=of)
        for one, of in zip((curves.base, curves.validations[-1]), figures, strict=True)
    )
    curves.base, curves.validations[-1] = base, last
    assert (learning(curves) is not None) == (is_learning or not is_share)


def test_without_validation_rows_twenty_steps_are_needed() -> None:
    assert learning(made(FALLING[:19], base=None)) is None
    found = learning(made(FALLING, base=None))
    assert found is not None
    assert "the training loss changed by -12.000 in 20 steps" in found, "between the means of eight steps"
    assert learning(made(FLAT, base=None)) is None
    assert learning(made(FALLING[::-1], base=None)) is None


@pytest.mark.parametrize(("z_score", "has_fallen"), [(-3.0, True), (-2.99, False)])
def test_a_fall_of_three_standard_deviations_is_a_fall(
    z_score: float, has_fallen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosis, "trend", lambda losses: z_score)
    curves = made(FALLING, base=None)
    assert (learning(curves) is not None, stalled(curves) is None) == (has_fallen, has_fallen)


def test_less_than_a_twentieth_is_little() -> None:
    assert has_gained_little(made(FALLING, validated(20, 95.0 + 1e-9)))
    assert not has_gained_little(made(FALLING, validated(20, 95.0)))
    assert not has_gained_little(made(FALLING))


def test_a_small_gain_is_learning_only_at_half_time_and_where_the_curve_levels_off() -> None:
    early, late = validated(10, 97.5), validated(20, 97.5, base=[-2.5, -3.0, -2.0])
    assert learning(made(FALLING, early, late, total=40)) is not None
    assert learning(made(FALLING, early, late, total=41)) is None
    assert learning(made(FALLING, validated(10, 99.0), late, total=40)) is None, "a straight line"
    large = validated(20, 95.0, base=[-5.0, -6.0, -4.0])
    assert learning(made(FALLING, validated(10, 97.5), large, total=400)) is not None


def test_the_held_out_loss_and_its_change_are_named() -> None:
    check_text(learning(made(FALLING, validated(10, 70.0), validated(20, 60.0, base=[-40.0, -41.5, -38.5]))) or "")


@pytest.mark.parametrize(
    ("step", "half", "is_straight"), [(10, 98.5, False), (10, 98.75, True), (11, 98.5, True), (9, 98.5, False)]
)
def test_more_than_two_fifths_of_a_small_gain_in_the_second_half_is_a_straight_line(
    step: int, half: float, is_straight: bool
) -> None:
    """97.5 is 2.5 below the base. What was validated after the half says nothing about the first half."""
    assert is_crawling(made(FALLING, validated(step, half), validated(20, 97.5))) == is_straight


def test_only_a_small_gain_crawls() -> None:
    straight = [validated(10, 90.0), validated(20, 80.0)]
    assert not is_crawling(made(FALLING, *straight))
    assert not is_crawling(made(FALLING))
    assert not is_crawling(made(FALLING, *straight, base=None))


# guessing


def test_guessing_is_never_significantly_below_chance() -> None:
    at, below = [-1.0, -2.0, 0.0], [-1.0, -2.0, -0.001]
    assert is_guessing(made(FALLING, validated(10, 99.0, chance=at), validated(20, 99.0, chance=at)))
    assert not is_guessing(made(FALLING, validated(10, 99.0, chance=below), validated(20, 99.0, chance=at)))
    assert not is_guessing(made(FALLING, validated(20, 99.0)))
    assert guessing(made(FALLING, validated(20, 99.0))) is None
    assert guessing(made(FALLING, validated(20, 99.0, chance=below))) is None
    found = guessing(made(FALLING, validated(10, 98.0, chance=[3.0, 1.0, 5.0]), validated(20, 99.0, chance=at)))
    assert (found or "").endswith("without the input: 98.000 at best against 95.000")


def test_ending_at_chance_needs_an_end_and_twenty_steps() -> None:
    last = validated(20, 99.0, chance=[0.0, -1.0, 1.0])
    assert ending_at_chance(made(FALLING, last)) is not None
    assert ending_at_chance(made(FALLING, last, total=21)) is None
    assert ending_at_chance(made(FALLING[:19], validated(19, 99.0, chance=[0.0, -1.0, 1.0]))) is None
    assert learning(made(FALLING, validated(20, 50.0, base=[-50, -51, -49], chance=[0.0, -1.0, 1.0]))) is None


# stuck


@pytest.mark.parametrize(("steps", "total", "warmup", "is_half"), [(20, 36, 4, True), (20, 36, 5, False)])
def test_half_time_is_counted_after_the_warmup(steps: int, total: int, warmup: int, is_half: bool) -> None:
    found = stalled(made(FLAT[:steps], base=None, total=total, warmup=warmup))
    assert (found is not None) == is_half
    assert stalled(made(FLAT[:19], base=None, total=20)) is None, "fewer than twenty steps"


def test_a_fall_of_the_training_loss_by_a_hundredth_is_not_flat() -> None:
    """The first window of eight is at 100, the last at 99, and in between it falls."""
    fell = [100.0] * 8 + [99.8, 99.6, 99.4, 99.2] + [99.0] * 8
    assert stalled(made(fell, base=None)) is None
    found = stalled(made([*fell[:-1], 99.5], base=None, total=40))
    assert found == "after 20 of 40 steps the training loss has changed by -0.938"


@pytest.mark.parametrize(
    ("change", "is_stuck"),
    [
        ([0.0, -0.99, 1.0], True),
        ([0.0, -1.0, 1.0], False),
        ([1.0, 0.0, 2.0], True),
        ([1.0, 0.01, 2.0], False),
    ],
)
def test_flat_training_is_stuck_unless_the_validation_rows_may_have_changed(
    change: list[float], is_stuck: bool
) -> None:
    """A gain of a hundredth is within the interval, or the model has become worse: another diagnosis."""
    assert (stalled(made(FLAT, validated(20, BASE, base=change))) is not None) == is_stuck


def test_falling_training_is_stuck_if_the_validation_loss_crawls() -> None:
    early, last = validated(10, 98.75), validated(20, 97.5, base=[-2.5, -3.0, -2.0])
    check_text(stalled(made(FALLING, early, last, total=40)) or "")
    assert stalled(made(FALLING, early, validated(20, 97.5, base=[-2.5, -5.0, 0.0]))) is None
    assert stalled(made(FALLING, early, validated(20, 97.5))) is None
    assert stalled(made(FALLING, validated(10, 98.5), last)) is None


# diverging


@pytest.mark.parametrize(
    ("losses", "is_diverging"),
    [
        ([2.0] + [3.0] * 8, False),
        ([2.0] + [3.01] * 8, True),
        ([2.0] + [3.01] * 7, False),
        ([2.0] + [3.01] * 7 + [2.9], False),
        ([2.0, 1.0] + [3.01] * 8, True),
    ],
)
def test_eight_steps_at_more_than_half_as_much_again(losses: list[float], is_diverging: bool) -> None:
    assert (diverging(made(losses, base=None)) is not None) == is_diverging


@pytest.mark.parametrize(
    ("low", "newest", "is_diverging"),
    [(5.0, 7.5, False), (5.0, 7.75, True), (10.0, 11.0, False), (10.0, 11.25, True)],
)
def test_a_climb_of_half_of_the_gain_and_a_tenth_of_the_first_loss(
    low: float, newest: float, is_diverging: bool
) -> None:
    losses = [10.0] * 8 + [low] * 8 + [newest] * 8
    assert (diverging(made(losses, base=None)) is not None) == is_diverging


@pytest.mark.parametrize(("spread", "is_diverging"), [(1.05, True), (1.07, False)])
def test_a_climb_of_five_standard_errors(spread: float, is_diverging: bool) -> None:
    """Four losses on either side: the standard error is `spread / sqrt(7)`, and 2 is 5 of them at 1.058."""
    assert diverging(made([10.0] * 8 + [12.0, 18.0] * 3 + [14.0, 16.0], base=None)), "a variance of 8: 5 exactly"
    losses = [10.0] * 8 + [12.0 - spread, 12.0 + spread] * 4
    assert (diverging(made(losses, base=None)) is not None) == is_diverging
    assert diverging(made(losses[1:], base=None)) is None, "two windows are needed"


def test_a_climb_is_described_by_the_means_of_two_windows() -> None:
    check_text(diverging(made([2.0] * 8 + [1.0] * 8 + [1.5625] * 8, base=None)) or "")
    check_text(diverging(made([2.0] + [3.5] * 7 + [3.25], base=None)) or "")


@pytest.mark.parametrize(
    ("change", "losses", "is_diverging"),
    [
        ([3.0, 0.0, 3.92], [100.0] * 4, True),
        ([2.99, 0.0, 3.92], [100.0] * 4, False),
        ([1.0, 0.9, 1.1], [100.0] * 4, True),
        ([0.99, 0.9, 1.1], [100.0] * 4, False),
        ([3.0, 0.0, 3.92], [100.0] * 3, False),
        ([3.0, 0.0, 3.92], [100.0, 99.9, 100.0, 100.0], False),
        ([3.0, 0.0, 3.92], [100.0, 99.9, 100.1, 100.0], True),
    ],
)
def test_worse_than_the_base_in_training_and_validation(
    change: list[float], losses: list[float], is_diverging: bool
) -> None:
    """Three standard errors, a hundredth of the base, three steps, and training at least at the first step's loss."""
    curves = made(losses, validated(len(losses), BASE + change[0], base=change))
    assert (diverging(curves) is not None) == is_diverging
    assert diverging(made(losses, validated(len(losses), BASE + change[0]))) is None


@pytest.mark.parametrize(
    ("first", "losses", "has_exploded"),
    [
        (100.0, [200.0] * 8, False),
        (100.0, [200.5] * 8, True),
        (100.0, [200.5] * 7, False),
        (100.0, [100.0] * 4 + [200.5] * 5 + [1.0] * 4, True),
        (100.0, [100.0] * 4 + [200.5] * 4 + [1.0] * 4, False),
        (50.0, [150.0] * 8, False),
        (110.0, [210.0] * 8, False),
    ],
)
def test_eight_steps_at_more_than_twice_the_base_models_loss(
    first: float, losses: list[float], has_exploded: bool
) -> None:
    """The higher of the first step's loss and the base model's counts, and the median of the eight."""
    assert (exploded(made([first, *losses])) is not None) == has_exploded
    assert exploded(made([first, *losses], base=None)) is None


def test_what_has_exploded_is_diverging_whatever_follows_and_may_recover() -> None:
    losses = [100.0, *[300.0] * 8, *[40.0] * 31]
    check_text(exploded(made(losses)) or "")
    watched = Diagnosis(made_recipe(), 40)
    found = [one.name for one in watched.observe(validated(0, BASE))]
    for step, loss in enumerate(losses, 1):
        found += [one.name for one in watched.observe(step_done(step, loss))]
    found += [one.name for one in watched.observe(validated(40, 40.0, base=[-60.0, -61.0, -59.0]))]
    assert found == ["diverging", "recovered"]


# overfitting

EARLIER, LATER = [100.0] * 3 + [60.0] * 32, [45.0] * 20
LOW = [10.0] * 20


def overfit(**changed: Any) -> Curves:
    """Lowest at step 35, at 50; then two validations at 60, with training losses 15 below. A run on every limit."""
    parts: dict[str, Any] = {
        "before": [4.0, 0.5, 8.0], "newest": [5.0, 4.0, 6.0], "last": 60.0, "base": BASE, "earlier": EARLIER,
        "later": LATER,
    } | changed  # fmt: skip
    return made(
        [*parts["earlier"], *parts["later"]],
        validated(20, 70.0),
        validated(35, 50.0),
        validated(45, 59.0, lowest=parts["before"]),
        validated(55, parts["last"], lowest=parts["newest"]),
        base=parts["base"],
    )


def test_an_overfit_run_is_described() -> None:
    check_text(overfitting(overfit()) or "")


@pytest.mark.parametrize(
    ("changed", "is_overfit"),
    [
        ({"newest": [4.99, 4.0, 6.0]}, False),
        ({"base": 130.0, "later": LOW, "newest": [4.99, 4.0, 6.0]}, False),  # a tenth of the lowest, not of the gain
        ({"base": 130.0, "later": LOW, "newest": [5.0, 4.0, 6.0]}, True),
        ({"base": 250.0, "later": LOW, "newest": [9.99, 4.0, 12.0]}, False),  # half a tenth of the gain
        ({"base": 250.0, "later": LOW, "newest": [10.0, 4.0, 12.0]}, True),
        ({"base": 270.0, "later": LOW, "newest": [10.9, 4.0, 12.0]}, False),
        ({"base": 50.0, "newest": [0.49, 0.25, 2.0]}, False),
        ({"base": 50.0, "newest": [0.5, 0.25, 2.0]}, True),
        ({"newest": [5.0, 0.0, 6.0]}, False),
        ({"before": [5.0, 0.0, 6.0]}, False),
        ({"last": 59.9}, False),
        ({"later": [45.1] * 20}, False),
        ({"later": [60.0] * 12 + [45.0] * 8}, True),
        ({"later": [70.0] * 12 + [45.0] * 8}, False),
        ({"last": 0.0}, False),
        ({"base": 0.0}, True),
        ({"base": 0.0, "later": [45.1] * 20}, False),
        ({"earlier": [0.0] * 3 + [60.0] * 32}, False),
    ],
    ids=str,
)
def test_the_limits_of_overfitting(changed: dict[str, Any], is_overfit: bool) -> None:
    """A tenth of the gain or a hundredth of the lowest, both intervals above 0, a quarter below the held-out loss."""
    assert (overfitting(overfit(**changed)) is not None) == is_overfit


@pytest.mark.parametrize(("spread", "is_overfit"), [(2.7, True), (2.9, False)])
def test_training_must_fall_by_two_standard_errors(spread: float, is_overfit: bool) -> None:
    """Sixteen losses on either side of 46: the standard error is `spread / sqrt(31)`, and 1 is 2 of them at 2.78."""
    by = [-4.0, 4.0] * 7 + [-2.0, 2.0] * 3 + [0.0] * 12
    assert overfitting(overfit(earlier=[100.0] * 3 + [46.0 + one for one in by])), "a variance of 8: 2 exactly"
    earlier = [100.0] * 3 + [46.0 - spread, 46.0 + spread] * 16
    assert (overfitting(overfit(earlier=earlier)) is not None) == is_overfit


def test_overfitting_needs_three_validations_and_two_after_the_lowest() -> None:
    losses, changes = [*EARLIER, *LATER], {"lowest": [5.0, 4.0, 6.0]}
    first, second, third = validated(35, 50.0), validated(45, 59.0, **changes), validated(55, 60.0, **changes)
    assert overfitting(made(losses, first, second, third)) is not None
    assert overfitting(made(losses, second, third)) is None
    assert overfitting(made(losses, validated(25, 55.0), validated(45, 50.0, **changes), third)) is None


def test_without_a_base_the_gain_is_counted_from_the_first_three_losses() -> None:
    losses, changes = [*EARLIER, *LATER], {"lowest": [7.5, 6.0, 9.0]}
    validations = [validated(35, 50.0), validated(45, 59.0, **changes), validated(55, 60.0, **changes)]
    made_of = [[200.0] * 3, [204.0] * 3, [198.0] * 2 + [204.0]]
    found = [overfitting(made([*first, *losses[3:]], *validations, base=None)) is not None for first in made_of]
    assert found == [True, False, True], "a twentieth of 150, of 154 and of 150"


# underfitting


@pytest.mark.parametrize(
    ("earlier", "last", "high", "is_underfit"),
    [
        (60.0, 50.0, -0.1, True),
        (59.9, 50.0, -0.1, False),
        (60.0, 50.0, 0.0, False),
        (99.5, 99.0, -0.1, True),
        (99.9, 99.1, -0.1, False),
    ],
)
def test_a_fifth_of_the_gain_in_the_last_third(earlier: float, last: float, high: float, is_underfit: bool) -> None:
    """30 steps of the same rate; the lowest until step 20 counts. Of a gain below a hundredth nothing is said."""
    validations = [validated(10, earlier), validated(20, earlier + 1), validated(30, last, lowest=[-1.0, -2.0, high])]
    losses = [BASE - step for step in range(30)]
    assert (underfitting(made(losses, *validations)) is not None) == is_underfit
    assert underfitting(made(losses, *validations, total=31)) is None
    assert underfitting(made(losses, *validations[1:])) is None, "two validations"


def test_underfitting_names_the_last_third() -> None:
    validations = [validated(9, 70.0), validated(20, 60.0), validated(30, 40.0, lowest=[-20.0, -21.0, -19.0])]
    check_text(underfitting(made([BASE - step for step in range(30)], *validations)) or "")


# when it is checked, and what is advised


@pytest.mark.parametrize(("total", "step"), [(19, 9), (39, 9), (40, 10), (100, 10), (200, 10), (240, 12)])
def test_training_losses_are_checked_twenty_times_a_run(total: int, step: int) -> None:
    """Eight steps at twice the first loss have been seen after step 9."""
    watched = Diagnosis(made_recipe(), total)
    found = [one for number in range(1, 16) for one in watched.observe(step_done(number, 1.0 if number == 1 else 2.0))]
    assert [(one.step, one.name) for one in found] == [(step, "diverging")]


@pytest.mark.parametrize(
    ("total", "every", "evidence", "advice"),
    [
        (50, 10, None, None),
        (41, 10, None, None),
        (40, 10, "4 validations in 40 steps", "`--set evaluate.every=4` (now 10)"),
        (30, 30, "1 validation in 30 steps", "`--set evaluate.every=3` (now 30)"),
        (5, 2, "3 validations in 5 steps", "`--set evaluate.every=1` (now 2)"),
        (4, 1, "4 validations in 4 steps", "Train for more steps"),
    ],
)
def test_five_validations_are_enough(total: int, every: int, evidence: str | None, advice: str | None) -> None:
    recipe = made_recipe().model_copy(update={"evaluate": EvaluateSection(every=every)})
    found = Diagnosis(recipe, total).observe(TrainingStarted(0, total, 3.0))
    assert [one.evidence.startswith(evidence or "") for one in found] == [True] * (evidence is not None)
    assert [(advice or "") in one.advice for one in found] == [True] * (advice is not None)


def test_the_lowest_validation_is_named_as_the_one_that_is_kept() -> None:
    watched = Diagnosis(made_recipe(), 55)
    watched.curves = overfit()
    found = {one.name: one.advice for one in watched._check(False)}
    assert "(the lowest was at step 35 of 55)" in found["overfitting"]
