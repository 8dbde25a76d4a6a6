"""What a run is called, on curves that are made with noise."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest

from burnish.engine.diagnosis import Diagnosis
from burnish.recipe.schema import EvaluateSection
from burnish.runs.events import Diagnosed, Event, StepDone, TrainingStarted, Validated
from tests.snapshots import check_text
from tests.unit.engine.made_curves import EVERY, STEPS, diagnose, made_recipe, made_run, step_done

Curve = Callable[[float], float]


def falling(start: float, end: float, speed: float = 8.0) -> Curve:
    """From one level towards another, most of the way in the first `1 / speed` of the run."""
    return lambda share: end + (start - end) * math.exp(-speed * share)


def rising_after(curve: Curve, turn: float, slope: float) -> Curve:
    """A curve that turns up at a share of the run."""
    return lambda share: curve(share) + slope * max(0.0, share - turn)


def flat(level: float) -> Curve:
    return lambda share: level


def names(events: list[Event]) -> list[str]:
    return [finding.name for finding in diagnose(events)]


RUNS: dict[str, tuple[list[Event], list[str]]] = {
    "good": (made_run(falling(2, 0.5), falling(2, 0.6)), ["learning"]),
    "learned by heart": (
        made_run(falling(2, 0.0), rising_after(falling(2, 0.9), 0.3, 1.5)),
        ["learning", "overfitting"],
    ),
    "too fast": (made_run(lambda share: 2 + 3 * min(1, 10 * share), falling(2, 5, 30)), ["diverging"]),
    "fell, then blew up": (
        made_run(rising_after(falling(2, 0.5), 0.6, 20), rising_after(falling(2, 0.5), 0.6, 20)),
        ["learning", "diverging"],
    ),
    "too slow": (made_run(lambda share: 2 - 0.004 * share, lambda share: 2 - 0.004 * share, row_noise=0.01), ["stuck"]),
    "slow, but surely": (
        made_run(lambda share: 2 - 0.06 * share, lambda share: 2 - 0.06 * share, row_noise=0.01, rates=flat(1e-3)),
        ["stuck"],
    ),
    "little to learn": (made_run(falling(2, 1.93), falling(2, 1.93), row_noise=0.01), ["learning"]),
    "nothing that holds": (
        made_run(falling(2.4, 1.9), falling(2.4, 2.1), chance=2.05, row_noise=0.2),
        ["stuck"],
    ),
    "too short": (
        made_run(lambda share: 2 - share, lambda share: 2 - share, rates=lambda share: 1e-3),
        ["learning", "underfitting"],
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_each_is_called_by_its_name_and_each_name_is_said_once(name: str) -> None:
    events, expected = RUNS[name]
    assert names(events) == expected


@pytest.mark.parametrize("trials", [36, pytest.param(200, marks=pytest.mark.slow)])
def test_a_good_run_is_never_called_overfit_whatever_the_noise(trials: int) -> None:
    """Runs that level off, of few and many rows, gentle and harsh noise: a turn by luck is none."""
    wrong = {"overfitting", "diverging", "stuck"}
    for seed in range(trials):
        noise = (0.02, 0.1, 0.3)[seed % 3]
        end = (0.3, 0.8, 1.5, 1.8)[seed % 4]
        rows = (8, 30, 60)[seed // 3 % 3]
        events = made_run(falling(2, end), falling(2, end + 0.05), seed, rows=rows, step_noise=noise, row_noise=noise)
        assert not wrong & set(names(events)), f"seed {seed}"


def test_a_flat_run_of_pure_noise_is_stuck_and_nothing_else() -> None:
    """The lowest of many validations is low by luck, and what comes after it is not overfitting."""
    called = [names(made_run(flat(2), flat(2), seed, rows=100, row_noise=0.02)) for seed in range(40)]
    assert sum(one == ["stuck"] for one in called) >= 39
    assert not any({"overfitting", "diverging", "learning"} & set(one) for one in called)


@pytest.mark.parametrize(
    ("training", "held_out", "name", "least"),
    [
        (falling(2, 0.0), rising_after(falling(2, 0.9), 0.3, 1.5), "overfitting", 30),
        (falling(2, 0.0), rising_after(falling(2, 0.9), 0.3, 0.8), "overfitting", 27),
        (falling(2, 6, 20), falling(2, 6, 20), "diverging", 30),
    ],
)
def test_troubles_are_seen_through_the_noise(training: Curve, held_out: Curve, name: str, least: int) -> None:
    assert sum(name in names(made_run(training, held_out, seed)) for seed in range(30)) >= least


def test_overfitting_is_reported_with_figures_and_what_to_change_while_the_run_trains() -> None:
    findings = diagnose(RUNS["learned by heart"][0])
    finding = findings[-1]
    assert finding.step < STEPS
    assert "the held-out loss rose from" in finding.evidence
    assert "95 % interval +" in finding.evidence
    assert "while the training loss fell from" in finding.evidence
    assert "`train.epochs` (now 3.0)" in finding.advice


def test_held_out_rows_that_rise_alone_are_not_overfitting() -> None:
    """Training does not fall: something else is wrong."""
    assert "overfitting" not in names(made_run(flat(0.9), rising_after(falling(2, 0.9), 0.3, 1.5)))


def test_a_rise_that_takes_back_little_is_no_overfitting() -> None:
    """Surely a rise, for the rows hardly jitter; but of 1.4 that were gained only 0.07 are lost."""
    events = made_run(falling(2, 0.1), rising_after(falling(2, 0.6), 0.4, 0.12), row_noise=0.001)
    last = next(event for event in reversed(events) if isinstance(event, Validated))
    assert last.changes["lowest"][1] > 0
    assert names(events) == ["learning"]


def test_shuffled_labels_are_reported_as_such() -> None:
    (finding,) = diagnose(RUNS["nothing that holds"][0])
    check_text(f"{finding.evidence}\n{finding.advice}")


def test_labels_learned_by_heart_that_never_beat_guessing() -> None:
    """Overfitting, and in the same words that nothing was learned that holds."""
    events = made_run(falling(2.4, 0.1), rising_after(falling(2.4, 2.1), 0.2, 1.0), chance=2.05)
    (finding,) = diagnose(events)
    assert finding.name == "overfitting"
    check_text(f"{finding.evidence}\n{finding.advice}")


def test_advice_moves_the_learning_rate_the_right_way() -> None:
    (slow,), (fast,) = diagnose(RUNS["too slow"][0]), diagnose(RUNS["too fast"][0])
    assert "`--set train.learning_rate=0.01` (now 0.001)" in slow.advice
    assert "`--set train.learning_rate=0.0001` (now 0.001)" in fast.advice
    assert slow.step <= 0.6 * STEPS, "half of the run is enough to see it"
    assert fast.step <= 0.2 * STEPS


def test_without_any_gradient_the_targets_are_looked_at() -> None:
    events = [step_done(step, 2.0, norm=0.0) for step in range(1, STEPS + 1)]
    (finding,) = diagnose(list(events))
    assert finding.name == "stuck"
    assert "No gradient" in finding.advice


def test_without_held_out_rows_training_alone_is_evaluated() -> None:
    (good,) = diagnose(made_run(falling(2, 0.5), flat(0), rows=0))
    assert good.name == "learning"
    check_text(good.evidence)
    assert names(made_run(lambda share: 2 + 4 * min(1, 20 * share), flat(0), rows=0)) == ["diverging"]
    assert names(made_run(flat(2), flat(0), rows=0)) == ["stuck"]


def test_a_schedule_that_falls_to_zero_does_not_hide_underfitting() -> None:
    """Loss falls with the summed learning rate; by the steps alone the curve is flat at the end."""

    def reached(share: float) -> float:
        return 2 - (1 - (1 - share) ** 2)

    def rate(share: float) -> float:
        return 1e-3 * max(0.0, 1 - share)

    assert names(made_run(reached, reached, rates=rate, row_noise=0.01)) == ["learning", "underfitting"]
    (finding,) = diagnose(made_run(reached, reached, rates=rate, row_noise=0.01))[1:]
    assert "`--set train.epochs=6` (now 3.0)" in finding.advice


def test_a_run_that_stopped_early_is_not_underfit() -> None:
    events = made_run(lambda share: 2 - share, lambda share: 2 - share, rates=lambda share: 1e-3, stop=50)
    assert names(events) == ["learning"]


@pytest.mark.parametrize(
    ("total", "every", "planned", "advice"),
    [(100, 25, 4, "`--set evaluate.every=10` (now 25)"), (2, 1, 2, "`train.epochs` (now 3.0)")],
)
def test_too_few_evaluations_are_reported_before_the_first_step(
    total: int, every: int, planned: int, advice: str
) -> None:
    recipe = made_recipe().model_copy(update={"evaluate": EvaluateSection(every=every)})
    (finding,) = Diagnosis(recipe, total).observe(TrainingStarted(0, total, 3.0))
    assert (finding.step, finding.name) == (0, "too-few-evaluations")
    assert f"{planned} validations in {total} steps" in finding.evidence
    assert advice in finding.advice


def test_enough_evaluations_are_not_worth_a_word() -> None:
    assert diagnose([TrainingStarted(0, STEPS, 3.0)]) == []


def test_a_loss_that_is_not_finite_is_divergence_reported_once() -> None:
    diagnosis = Diagnosis(made_recipe(), STEPS)
    diagnosis.observe(step_done(1, 2.0))
    (finding,) = diagnosis.not_finite(2, "the loss became nan")
    assert (finding.name, finding.evidence) == ("diverging", "the loss became nan at step 2")
    assert diagnosis.not_finite(2, "the loss became nan") == []


def test_the_same_events_give_the_same_findings_whatever_was_said_before() -> None:
    """A resumed run is fed with what was reported, and goes on as if it had never stopped."""
    for events, _ in RUNS.values():
        whole = diagnose(events)
        for cut in range(0, len(events), EVERY + 3):
            diagnosis = Diagnosis(made_recipe(), STEPS)
            before = [finding for event in events[:cut] for finding in diagnosis.observe(event)]
            again = Diagnosis(made_recipe(), STEPS)
            for event in events[:cut]:
                if isinstance(event, StepDone | Validated):
                    again.observe(event)
            again.reported |= {finding.name for finding in before}
            assert before + [finding for event in events[cut:] for finding in again.observe(event)] == whole


def test_findings_come_in_the_order_of_steps() -> None:
    for events, _ in RUNS.values():
        found: list[Diagnosed] = diagnose(events)
        assert all(one.step <= other.step for one, other in pairwise(found))


@pytest.mark.parametrize(("adapts", "step"), [(False, 55), (True, 60)])
def test_a_run_that_adapts_waits_for_its_next_validation(adapts: bool, step: int) -> None:
    """There it acts instead of being called stuck."""
    events, _ = RUNS["too slow"]
    assert [(one.step, one.name) for one in diagnose(events, made_recipe(adapt=adapts))] == [(step, "stuck")]
