"""Advice that a run can follow, and findings that do not contradict each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from burnish.engine.advice import raise_rate
from burnish.engine.curves import Curves
from burnish.engine.diagnosis import Diagnosis, overfitting, underfitting
from burnish.recipe.schema import EvaluateSection
from burnish.runs.events import Diagnosed, StoppedEarly, TrainingStarted, Validated
from tests.snapshots import check_text
from tests.unit.engine.made_curves import STEPS, diagnose, made_recipe, made_run, step_done

CLASSES = 5.0
"""Loss of guessing among 150 labels."""


def labelled(
    step: int, loss: float, accuracy: float = 0.5, name: str = "accuracy", **changes: Sequence[float]
) -> Validated:
    """A validation of a task with labels."""
    found = {"chance": [loss - CLASSES, loss - CLASSES - 0.1, loss - CLASSES + 0.1]} | {
        key: list(three) for key, three in changes.items()
    }
    return Validated(step, loss, {name: accuracy, "other": 1.0}, False, 0.1, found, name, True)


def flattened(loss: float = 1.5, trained: float = 1.5, accuracy: float = 0.76, **parts: Any) -> Curves:
    """A run whose schedule has flattened the curve far from the floor: most of the gain came in the first half."""
    curves = Curves(30, 0)
    curves.take(labelled(0, 5.2, 0.01))
    for step in range(1, 31):
        curves.take(step_done(step, 5.2 - (5.2 - trained) * min(1.0, step / 15), rate=1.0 if step < 20 else 0.01))
    changes = {"lowest": [-0.01, -0.03, 0.01]}
    for step, level in ((10, loss + 1), (20, loss + 0.01), (30, loss)):
        curves.take(labelled(step, level, accuracy, **changes))
    if parts.get("stopped"):
        curves.take(StoppedEarly(30, "no better"))
    return curves


def test_a_loss_far_from_its_floor_is_underfitting_however_flat_the_curve() -> None:
    found = underfitting(flattened())
    assert found is not None
    check_text(found)
    assert underfitting(flattened(stopped=True)) is not None


@pytest.mark.parametrize(
    ("parts", "is_underfit"),
    [
        ({"loss": 1.25, "trained": 1.25}, True),
        ({"loss": 1.24, "trained": 1.24}, False),  # a quarter of guessing
        ({"trained": 1.36}, True),
        ({"trained": 1.34}, False),  # a tenth below: a gap, which more training widens
        ({"trained": 0.5}, False),
        ({"accuracy": 0.994}, True),
        ({"accuracy": 0.996}, False),
        ({"accuracy": 1.0}, False),
        ({"loss": 4.99, "trained": 5.0}, False),  # no better than guessing is another diagnosis
    ],
    ids=str,
)
def test_how_far_is_far(parts: dict[str, Any], is_underfit: bool) -> None:
    assert (underfitting(flattened(**parts)) is not None) == is_underfit


def still_falling(accuracy: float = 0.5, name: str = "loss", is_share: bool = False, scale: float = 1.0) -> Curves:
    """A loss that falls to the end in a straight line."""
    curves = Curves(30, 0)
    curves.take(Validated(0, 2.0, {}, False, 0.1))
    for step in range(1, 31):
        curves.take(step_done(step, 2.0 - scale * step / 30, rate=1.0))
    for step in (10, 20, 30):
        changes = {"lowest": [-0.3, -0.4, -0.2]}
        curves.take(
            Validated(step, 2.0 - scale * step / 30, {"accuracy": accuracy}, True, 0.1, changes, name, is_share)
        )
    return curves


def test_a_solved_task_is_never_underfitting() -> None:
    assert underfitting(still_falling()) is not None
    assert underfitting(still_falling(0.9, "accuracy", True)) is not None
    assert underfitting(still_falling(1.0, "accuracy", True)) is None
    assert underfitting(still_falling(1.0, "accuracy", False)) is not None, "an error of 1.0 is not perfect"
    assert underfitting(still_falling(scale=1.92)) is None, "less than a twentieth of the loss is left"


def test_a_run_that_memorizes_needs_no_more_training() -> None:
    curves = still_falling()
    curves.losses[-10:] = [0.1] * 10
    assert underfitting(curves) is None


def found(curves: Curves, **train: Any) -> dict[str, Diagnosed]:
    """Every finding at the end of a run."""
    watched = Diagnosis(made_recipe(**train), curves.total_steps)
    watched.curves = curves
    return {one.name: one for one in watched._check(False)}


@pytest.mark.parametrize(
    ("train", "advised", "not_advised"),
    [
        ({}, "`--set train.epochs=6` (now 3.0)", "max_steps"),
        ({"max_steps": 30}, "`--set train.max_steps=60` (now 30)", "train.epochs"),
        ({"max_steps": 31}, "`--set train.epochs=6` (now 3.0)", "max_steps"),
    ],
)
def test_longer_is_what_decides_how_long_the_run_is(train: dict[str, Any], advised: str, not_advised: str) -> None:
    for curves in (still_falling(), flattened()):
        advice = found(curves, **train)["underfitting"].advice
        assert advised in advice
        assert not_advised not in advice


def test_where_early_stopping_ended_the_run_nothing_is_gained_by_more_epochs() -> None:
    advice = found(flattened(stopped=True))["underfitting"].advice
    check_text(advice)
    assert "epochs" not in advice
    assert "If neither helps" in found(flattened())["underfitting"].advice


def test_fewer_steps_are_advised_in_the_option_that_counts() -> None:
    events = made_run(lambda share: 2 * (1 - share) ** 4, lambda share: 2 - share if share < 0.3 else 1.4 + 1.5 * share)
    plain, limited = (
        next(one for one in diagnose(events, made_recipe(**train)) if one.name == "overfitting").advice
        for train in ({}, {"max_steps": STEPS})
    )
    assert "fewer `train.epochs` (now 3.0)" in plain
    assert f"fewer `train.max_steps` (now {STEPS})" in limited


def test_more_steps_are_advised_in_the_option_that_counts() -> None:
    recipe = made_recipe(max_steps=3).model_copy(update={"evaluate": EvaluateSection(every=1)})
    (one,) = Diagnosis(recipe, 3).observe(TrainingStarted(0, 3, 0.1))
    assert one.advice == "Train for more steps: a higher `train.max_steps` (now 3)"


def test_a_new_head_that_starts_far_above_guessing_has_that_much_less_to_lose() -> None:
    """The loss fell from 12.0 to 2.0 and rose to 2.4; guessing has 5.0, of which a tenth of the gain is lost again."""

    def run(chance: bool) -> Curves:
        curves = Curves(60, 0)
        curves.take(Validated(0, 12.0, {}, False, 0.1))
        for step in range(1, 61):
            curves.take(step_done(step, max(0.01, 4.0 - step / 10)))
        for step, loss in ((10, 2.5), (20, 2.0), (40, 2.3), (60, 2.4)):
            changes = {"lowest": [loss - 2, loss - 2.1, loss - 1.9], "chance": [loss - CLASSES, -4.0, -2.0]}
            kept = {name: three for name, three in changes.items() if chance or name != "chance"}
            curves.take(Validated(step, loss, {}, False, 0.1, kept))
        return curves

    assert overfitting(run(chance=True)) is not None
    assert overfitting(run(chance=False)) is None


def test_a_run_that_diverged_is_not_overfit_besides() -> None:
    events = made_run(lambda share: 2 + 6 * min(1, 20 * share) - 4 * share, lambda share: 2 + 3 * abs(share - 0.6))
    assert "overfitting" not in [one.name for one in diagnose(events)]


def test_a_run_that_recovers_is_said_to_and_nothing_stands_against_its_verdict() -> None:
    """It climbs, and ends far below where it began."""
    jumped = made_run(
        lambda share: 2 + 4 * (0.05 < share < 0.3) - 1.5 * (share > 0.4),
        lambda share: 2 + 2 * (0.05 < share < 0.3) - share,
    )
    watched = Diagnosis(made_recipe(), STEPS)
    names = [one.name for event in jumped for one in watched.observe(event)]
    assert names == ["diverging", "recovered"]
    assert watched.holding() == {}


def test_what_is_wrong_at_the_end_stands() -> None:
    flat = made_run(lambda share: 2.0, lambda share: 2.0, rows=100, row_noise=0.02)
    watched = Diagnosis(made_recipe(), STEPS)
    findings = [one for event in flat for one in watched.observe(event)]
    assert watched.holding() == {one.name: one.evidence for one in findings}
    assert list(watched.holding()) == ["stuck"]


METHODS = ("lora", "full", "freeze", "ia3", "prompt")


def test_stuck_advice_names_options_of_the_method() -> None:
    flat = made_run(lambda share: 2.0, lambda share: 2.0, rows=100, row_noise=0.02)
    found = {name: diagnose(flat, made_recipe(method=name))[0].advice for name in METHODS}
    check_text("\n".join(f"{name}: {advice}" for name, advice in found.items()))


def test_overfitting_advice_names_options_of_the_method() -> None:
    events = made_run(lambda share: 2 * (1 - share) ** 4, lambda share: 2 - share if share < 0.3 else 1.4 + 1.5 * share)
    found = {
        name: next(one for one in diagnose(events, made_recipe(method=name)) if one.name == "overfitting").advice
        for name in METHODS
    }
    check_text("\n".join(f"{name}: {advice}" for name, advice in found.items()))


def test_without_a_gradient_the_option_that_chose_the_weights_is_named() -> None:
    curves = Curves(40, 0)
    for step in range(1, 41):
        curves.take(step_done(step, 2.0, norm=0.0))
    found = {name: raise_rate(made_recipe(method=name), curves) for name in METHODS}
    check_text("\n".join(f"{name}: {advice}" for name, advice in found.items()))
