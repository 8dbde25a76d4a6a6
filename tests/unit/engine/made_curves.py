"""Runs that are made of numbers: training and held-out losses with the noise of steps and rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from burnish.engine.diagnosis import Diagnosis
from burnish.engine.progress import Progress
from burnish.metrics.measure import Measure, mean, value
from burnish.recipe.schema import EvaluateSection, Recipe, TrainSection
from burnish.runs.events import Diagnosed, Event, StepDone, StoppedEarly, TrainingStarted, Validated

STEPS = 100
EVERY = 10


def loss_of(rows: Any) -> Measure:
    """A loss with one number a row."""
    return mean("loss", rows, higher_is_better=False, is_share=False)


def made_recipe(**train: Any) -> Recipe:
    """What the diagnosis reads of a recipe."""
    options = {"learning_rate": 1e-3, "epochs": 3.0, **train}
    method = options.pop("method", "lora")
    return Recipe(method=method, train=TrainSection(**options), evaluate=EvaluateSection(every=EVERY))


def made_run(
    training: Callable[[float], float],
    held_out: Callable[[float], float],
    seed: int = 0,
    rows: int = 60,
    chance: float | None = None,
    **options: Any,
) -> list[Event]:
    """The events of a run of `STEPS` steps.

    Args:
        training: loss by the share of the run that is done; every step adds noise.
        held_out: the same of the mean held-out loss; every row has its own level and noise of its own.
        seed: of the noise.
        rows: held out; 0 for none.
        chance: the loss of guessing, where there is one.
        options: `step_noise` and `row_noise`, standard deviations; `stop`, the step at which the run stops early;
            `rates`, the learning rate by the share of the run.
    """
    step_noise, row_noise = options.get("step_noise", 0.1), options.get("row_noise", 0.1)
    stop, rates = options.get("stop", STEPS), options.get("rates", lambda share: 1e-3 * (1 - share) + 1e-5)
    source = numpy.random.default_rng(seed)
    level = source.gamma(4.0, 0.25, rows)
    progress, events = Progress(), list[Event]([TrainingStarted(0, STEPS, 3.0)])
    for step in range(stop + 1):
        share = step / STEPS
        if step:
            loss = max(1e-4, training((step - 1) / STEPS) + source.normal(0, step_noise))
            events.append(step_done(step, loss, rates(share)))
        if rows and step % EVERY == 0:
            # the level of a row is a share of the loss: hard rows are harder in every validation
            evaluated = loss_of(numpy.maximum(1e-4, held_out(share) * level + source.normal(0, row_noise, rows)))
            guessed = loss_of(chance * level) if chance is not None else None
            changes = progress.changes(evaluated, guessed)
            is_best = progress.record(step, value(evaluated), -value(evaluated), [evaluated])
            events.append(Validated(step, value(evaluated), {}, is_best, 0.1, changes))
    return [*events, StoppedEarly(stop, "no better")] if stop < STEPS else events


def step_done(step: int, loss: float, rate: float = 1e-3, norm: float = 1.0) -> StepDone:
    """A step of a run of `STEPS`."""
    return StepDone(step, STEPS, 3 * step / STEPS, loss, rate, norm, 100, 50, 0.1, 1.0)


def diagnose(events: Sequence[Event], recipe: Recipe | None = None) -> list[Diagnosed]:
    """Every finding of a run, in order."""
    diagnosis = Diagnosis(recipe or made_recipe(), STEPS)
    return [finding for event in events for finding in diagnosis.observe(event)]
