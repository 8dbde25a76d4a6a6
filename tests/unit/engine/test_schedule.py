"""The learning rate of each step, and the schedules that a run adds."""

from __future__ import annotations

import math

import pytest

from burnish.engine.schedule import Cycle, cycles_of, last_step, learning_rate_at
from burnish.recipe.schema import OptimizationSection, TrainSection


def rates(total: int, **options: object) -> list[float]:
    """The rate of every step of a run."""
    train = TrainSection(**{"learning_rate": 1.0, **options})  # type: ignore[arg-type]
    return [learning_rate_at(step, total, train) for step in range(total)]


def test_constant_with_warmup_by_hand() -> None:
    assert rates(8, schedule="constant", warmup=0.5) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1])


def test_linear_by_hand() -> None:
    assert rates(5, schedule="linear", warmup=0) == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])
    assert rates(6, schedule="linear", warmup=0.34) == pytest.approx([1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25])


def test_cosine_by_hand() -> None:
    half = math.sqrt(0.5) / 2
    assert rates(4, schedule="cosine", warmup=0) == pytest.approx([1, 0.5 + half, 0.5, 0.5 - half])


def test_the_peak_is_the_learning_rate() -> None:
    assert max(rates(100, learning_rate=3e-4)) == pytest.approx(3e-4)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant", "wsd"])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.5, 0.99])
@pytest.mark.parametrize("total", [1, 2, 3, 10, 101])
def test_every_step_moves_and_the_warmup_ends_within_the_run(total: int, warmup: float, schedule: str) -> None:
    of_run = rates(total, schedule=schedule, warmup=warmup)
    assert all(0 < rate <= 1 for rate in of_run)
    top = of_run.index(max(of_run))
    assert max(of_run) == 1
    assert of_run[: top + 1] == sorted(of_run[: top + 1])
    assert of_run[top:] == sorted(of_run[top:], reverse=True)
    assert top == min(round(warmup * total), total - 1)


def test_a_cycle_begins_the_schedule_anew_and_scales_it() -> None:
    train = TrainSection(learning_rate=1.0, schedule="linear", warmup=0.0)
    cycles = [Cycle(4, 2, 10.0), Cycle(6, 4)]
    of_run = [learning_rate_at(step, 5, train, cycles) for step in range(last_step(5, cycles))]
    assert of_run == pytest.approx([1.0, 0.8, 0.6, 0.4, 10.0, 5.0, 1.0, 0.75, 0.5, 0.25])


def test_the_warmup_of_a_cycle_is_a_share_of_its_own_steps() -> None:
    train = TrainSection(learning_rate=1.0, schedule="constant", warmup=0.5)
    assert [learning_rate_at(step, 2, train, [Cycle(2, 4)]) for step in range(6)] == pytest.approx(
        [0.5, 1, 1 / 3, 2 / 3, 1, 1]
    )


def test_a_run_without_cycles_ends_as_planned() -> None:
    assert (last_step(7, []), last_step(7, [Cycle(7, 3)])) == (7, 10)


def adapted(step: int, total: int, factor: float = 1.0) -> dict[str, object]:
    """A line of the log."""
    return {"event": "Adapted", "step": step, "total_steps": total, "factor": factor}


def test_the_log_gives_the_cycles_of_a_run() -> None:
    lines = [{"event": "Note", "step": 3}, adapted(50, 150, 10.0), adapted(150, 200)]
    assert cycles_of(lines) == [Cycle(50, 100, 10.0), Cycle(150, 50)]


def test_a_cycle_that_was_decided_again_after_a_kill_counts_once() -> None:
    assert cycles_of([adapted(50, 150), adapted(150, 200), adapted(50, 150), adapted(150, 200)]) == [
        Cycle(50, 100),
        Cycle(150, 50),
    ]


def test_wsd_stays_at_the_peak_and_falls_at_the_end() -> None:
    train = TrainSection(learning_rate=1.0, schedule="wsd", warmup=0)
    more = OptimizationSection(decay_share=0.5)
    of_run = [learning_rate_at(step, 8, train, (), more) for step in range(8)]
    assert of_run == pytest.approx([1, 1, 1, 1, 1, 0.75, 0.5, 0.25])


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd"])
def test_a_schedule_ends_at_its_minimum(schedule: str) -> None:
    train = TrainSection(learning_rate=2.0, schedule=schedule, warmup=0)  # type: ignore[arg-type]
    plain = [learning_rate_at(step, 50, train) for step in range(50)]
    raised = [learning_rate_at(step, 50, train, (), OptimizationSection(minimum_rate=0.25)) for step in range(50)]
    assert raised == pytest.approx([0.5 + 0.75 * rate for rate in plain])
    assert raised[0] == 2.0
