"""What a run changes by itself: when, and by how much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from burnish.engine.adaptation import Adaptation, adaptation
from burnish.engine.diagnosis import Diagnosis
from burnish.engine.schedule import Cycle
from burnish.recipe.schema import Recipe
from burnish.runs.events import Event, TrainingStarted, Validated
from tests.unit.engine.made_curves import STEPS, made_recipe, made_run


def decide(
    events: Sequence[Event], recipe: Recipe | None = None, planned: int = STEPS, cycles: Sequence[Cycle] = ()
) -> list[Adaptation]:
    """Every change that would be made in the course of a run."""
    recipe = recipe or made_recipe(adapt=True)
    diagnosis, found = Diagnosis(recipe, STEPS), []
    for event in events:
        if isinstance(event, Validated):
            found.append(adaptation(event, diagnosis, recipe, planned, cycles))
        diagnosis.observe(event)
    return [one for one in found if one is not None]


def falling(**options: Any) -> list[Event]:
    """A loss that has not leveled off at the end."""
    return made_run(lambda share: 3 - share, lambda share: 3 - share, rates=lambda share: 1e-3, **options)


def flat(**options: Any) -> list[Event]:
    """A loss that does not move."""
    return made_run(lambda share: 3.0, lambda share: 3.0, step_noise=0.02, row_noise=0.02, **options)


def test_a_run_whose_loss_still_falls_goes_on() -> None:
    (only,) = decide(falling())
    assert only.cycle == Cycle(STEPS, STEPS)
    assert "still falling at the end" in only.reason


def test_a_run_that_has_not_moved_by_half_time_gets_a_higher_rate() -> None:
    first = decide(flat())[0]
    assert first.cycle.factor == 10.0
    assert 0.5 * STEPS <= first.cycle.first <= 0.6 * STEPS
    assert first.cycle.steps == STEPS
    assert "the training loss has changed by" in first.reason


def test_the_rate_is_raised_once() -> None:
    assert decide(flat(), cycles=[Cycle(10, 90, 10.0)]) == []


def test_a_run_far_from_its_floor_goes_on_faster() -> None:
    """The curve is flat at 60 % of the loss of guessing, and training rows are no better."""
    curve = lambda share: 0.6 + 0.4 * math.exp(-12 * share)  # noqa: E731
    events = made_run(curve, curve, rows=400, chance=1.0, row_noise=0.02, step_noise=0.02)
    shown = [replace_share(event) for event in events]
    (only,) = decide(shown)
    assert only.cycle == Cycle(STEPS, STEPS, 3.0)
    assert "guessing by the label frequencies" in only.reason


def replace_share(event: Event) -> Event:
    """The same validation of a task whose main metric is a share."""
    if not isinstance(event, Validated):
        return event
    return Validated(event.step, event.loss, {"accuracy": 0.7}, event.is_best, 0.1, event.changes, "accuracy", True)


def test_a_raised_rate_stays_raised() -> None:
    (only,) = decide(falling(), cycles=[Cycle(50, 50, 10.0)])
    assert only.cycle.factor == 10.0


@pytest.mark.parametrize(
    ("planned", "most", "steps"),
    [(STEPS, None, STEPS), (STEPS, 130, 30), (STEPS, 124, None), (40, None, 20), (33, None, None)],
    ids=["as planned", "up to max_steps", "too few", "up to three times the plan", "three times the plan is done"],
)
def test_it_stays_within_the_budget(planned: int, most: int | None, steps: int | None) -> None:
    found = decide(falling(), made_recipe(adapt=True, max_steps=most), planned)
    assert [one.cycle.steps for one in found] == ([steps] if steps else [])


@pytest.mark.parametrize("adapt", [False, "auto"])
def test_it_changes_nothing_unless_it_may(adapt: Any) -> None:
    assert decide(falling(), made_recipe(adapt=adapt)) == decide(flat(), made_recipe(adapt=adapt)) == []


def leveled_off(**options: Any) -> list[Event]:
    """A loss that is as good as flat at the end, on the training rows and on the held-out ones."""
    curve = lambda share: 1 + 2 * math.exp(-12 * share)  # noqa: E731
    return made_run(curve, curve, **options)


def test_a_run_that_has_leveled_off_ends() -> None:
    assert decide(leveled_off(), planned=200) == []


def test_a_short_run_that_memorizes_nothing_goes_on_once() -> None:
    (only,) = decide(leveled_off())
    assert only.cycle == Cycle(STEPS, 2 * STEPS)
    assert only.reason.startswith("100 steps are few, and the rows are not memorized: ")
    assert decide(leveled_off(), cycles=[Cycle(STEPS // 2, STEPS // 2)]) == []


def test_a_run_that_memorizes_ends() -> None:
    assert decide(made_run(lambda share: 3 * (1 - 0.95 * share), lambda share: 3 - share)) == []


def test_a_run_that_diverges_is_left_alone() -> None:
    assert decide(made_run(lambda share: 3 + 6 * share, lambda share: 3 + 6 * share)) == []


def test_a_stuck_run_that_acts_does_not_also_advise() -> None:
    recipe = made_recipe(adapt=True)
    diagnosis = Diagnosis(recipe, STEPS)
    for event in flat():
        if isinstance(event, Validated) and event.step >= STEPS // 2:
            break
        assert [one.name for one in diagnosis.observe(event)] == []


def test_a_run_that_goes_on_is_not_called_underfitting_before_its_end() -> None:
    diagnosis = Diagnosis(made_recipe(adapt=True), STEPS)
    found = []
    for event in falling():
        found += diagnosis.observe(event)
        if isinstance(event, TrainingStarted):
            diagnosis.extend(2 * STEPS)
    assert [one.name for one in found] == ["learning"]
