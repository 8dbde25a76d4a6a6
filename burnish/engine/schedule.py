"""The learning rate of every step: one schedule as planned, and another for each time that a run goes on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.recipe.schema import OptimizationSection, TrainSection


@dataclass(frozen=True, slots=True)
class Cycle:
    """Steps with a schedule of their own, from warm-up to the end, that a run adds while it trains."""

    first: int
    """Steps done before it."""
    steps: int
    """Its optimizer steps."""
    factor: float = 1.0
    """Times the learning rate of the recipe."""

    @property
    def end(self) -> int:
        """Steps done after it."""
        return self.first + self.steps


def cycles_of(events: Iterable[Mapping[str, Any]]) -> list[Cycle]:
    """The cycles that a run has added, in order, from the lines of its `events.jsonl`.

    After a kill, the log may have one that was decided again later: the last one of a step counts, and none before it
    that begins later.
    """
    found: list[Cycle] = []
    for line in events:
        if line["event"] == "Adapted":
            first = line["step"]
            found = [one for one in found if one.first < first]
            found.append(Cycle(first, line["total_steps"] - first, line["factor"]))
    return found


def last_step(planned: int, cycles: Sequence[Cycle]) -> int:
    """Steps of the whole run.

    Args:
        planned: steps of the first schedule.
        cycles: that were added, in order.
    """
    return cycles[-1].end if cycles else planned


def warmup_steps(total_steps: int, train: TrainSection) -> int:
    """Number of warm-up steps."""
    return min(round(train.warmup * total_steps), total_steps - 1)


_PLAIN = OptimizationSection()


def learning_rate_at(
    step: int,
    total_steps: int,
    train: TrainSection,
    cycles: Sequence[Cycle] = (),
    optimization: OptimizationSection = _PLAIN,
) -> float:
    """The learning rate of a step, counted from 0: linear warm-up, then decay to the minimum by the schedule.

    Warm-up takes `warmup * total_steps` steps, rounded, and never all of them. Its first step is not 0 but 1/(n+1) of
    the peak for n steps. Cosine is half a period; with cycles, the schedule begins again in each (warm restarts, arXiv
    1608.03983). `wsd` stays at the peak until the last part (arXiv 2404.06395).

    Args:
        step: counted from 0.
        total_steps: as planned, without cycles.
        train: peak, warm-up and schedule.
        cycles: that were added, in order.
        optimization: where the schedule ends.
    """
    cycle = next((one for one in reversed(cycles) if one.first <= step), Cycle(0, total_steps))
    peak = float(train.learning_rate) * cycle.factor
    done, rising = step - cycle.first, warmup_steps(cycle.steps, train)
    if done < rising:
        return peak * (done + 1) / (rising + 1)
    height = _height(train.schedule, (done - rising) / (cycle.steps - rising), optimization.decay_share)
    least = optimization.minimum_rate
    return peak * (least + (1 - least) * height)


def _height(schedule: str, share: float, decay: float) -> float:
    """The schedule after warm-up, from 1 to 0.

    Args:
        schedule: its name.
        share: of the steps after warm-up that are done.
        decay: share of them in which `wsd` falls.
    """
    match schedule:
        case "constant":
            return 1.0
        case "linear":
            return 1 - share
        case "wsd":
            return min(1.0, (1 - share) / decay)
    return 0.5 * (1 + math.cos(math.pi * share))
