"""What a run changes by itself while it trains (`train.adapt`).

It has two ways, each beginning a new cycle of the learning-rate schedule from the current weights:

- Halfway, nothing has moved (`stalled`): the learning rate is raised. As the weights have hardly moved, this is as good
  as starting over.
- At the end, the rows are not fitted yet (`underfitting`), or the run was short and has not memorized them: it goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from burnish.engine.diagnosis import Diagnosis, far_from_floor, is_unfinished, not_memorized, stalled, still_falling
from burnish.engine.schedule import Cycle
from burnish.recipe.schema import Recipe, TrainSection
from burnish.runs.events import Validated

MOST, MOST_OF_SHORT = 2, 3
"""Times the planned steps that a run takes at most, and one that is planned to take few."""
_SHORT = 150
"""Most planned steps of a short run. Measured on small models alone (`bench/outcomes.py`)."""
_FEWEST = 0.25
"""Share of the planned steps that is worth a cycle: in fewer, a schedule hardly rises before it falls again."""
_RAISED, _FASTER = 10.0, 3.0
"""Factors of the learning rate: of a run that has not moved, and of one that has become slow far from its floor."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """A cycle, and why it begins."""

    cycle: Cycle
    reason: str


def most_steps(planned: int, train: TrainSection) -> int:
    """Optimizer steps that a run takes at most.

    Args:
        planned: steps of the first schedule.
        train: resolved options.
    """
    if train.adapt is not True:
        return planned
    most = planned * (MOST_OF_SHORT if planned <= _SHORT else MOST)
    return min(most, train.max_steps or most)


def adaptation(
    validated: Validated, diagnosis: Diagnosis, recipe: Recipe, planned: int, cycles: Sequence[Cycle]
) -> Adaptation | None:
    """What to change after a validation, if anything.

    Args:
        validated: the validation.
        diagnosis: of the run before it.
        recipe: fully resolved.
        planned: optimizer steps of the first schedule.
        cycles: that were added so far.
    """
    curves = diagnosis.curves.with_validation(validated)
    most = most_steps(planned, recipe.train)
    steps, factor = min(planned, most - curves.step), cycles[-1].factor if cycles else 1.0
    if recipe.train.adapt is not True or steps < max(1, round(_FEWEST * planned)):
        return None
    last, base, reported = curves.last, curves.base, diagnosis.reported
    if last is None or base is None or reported & {"diverging", "overfitting"}:
        return None
    if not cycles and not curves.is_over and "learning" not in reported and (evidence := stalled(curves)):
        return Adaptation(Cycle(curves.step, steps, _RAISED), evidence)
    if not is_unfinished(curves):
        return None
    if evidence := still_falling(curves, last, base):
        return Adaptation(Cycle(curves.step, steps, factor), evidence)
    if evidence := far_from_floor(curves, last):
        return Adaptation(Cycle(curves.step, steps, max(factor, _FASTER)), evidence)
    if planned <= _SHORT and not cycles:
        evidence = f"{planned} steps are few, and {not_memorized(curves, last)}"
        return Adaptation(Cycle(curves.step, most - curves.step, factor), evidence)
    return None
