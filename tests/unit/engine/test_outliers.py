"""Steps that stand out from those before them, and those that do not."""

from __future__ import annotations

import math

import numpy
import pytest

from burnish.engine.curves import FEWEST, Outlier, Outliers
from tests.unit.engine.made_curves import step_done


def observe_all(losses: list[float], norms: list[float] | None = None, warmup: int = 0) -> dict[int, list[Outlier]]:
    """What stands out at each step where anything does."""
    outliers, norms = Outliers(warmup), norms or [1.0] * len(losses)
    result = {}
    for step, (loss, norm) in enumerate(zip(losses, norms, strict=True), 1):
        if found := outliers.observe(step_done(step, loss, norm=norm)):
            result[step] = found
    return result


def noisy(count: int, seed: int = 0, level: float = 2.0, spread: float = 0.1) -> list[float]:
    return numpy.random.default_rng(seed).normal(level, spread, count).tolist()


def test_a_spike_is_found_with_what_is_usual() -> None:
    losses = noisy(60)
    losses[40] = 4.0
    ((outlier,),) = observe_all(losses).values()
    assert (outlier.what, outlier.value) == ("loss", 4.0)
    assert outlier.usual == pytest.approx(numpy.median(losses[:40]))
    assert list(observe_all(losses)) == [41]


def test_a_gradient_that_stands_out_is_found_though_the_loss_does_not() -> None:
    norms = [math.exp(value) for value in noisy(60, level=0.0, spread=0.4)]
    norms[50] = 300.0
    result = observe_all(noisy(60), norms)
    assert {step: [one.what for one in found] for step, found in result.items()} == {51: ["gradient norm"]}


def test_one_spike_hides_no_other() -> None:
    losses = noisy(80)
    losses[40] = losses[60] = 5.0
    assert list(observe_all(losses)) == [41, 61]


def test_noise_is_no_spike() -> None:
    """Fifty runs of a hundred steps, of normal losses and of log-normal norms with a long tail."""
    found = 0
    for seed in range(50):
        norms = numpy.random.default_rng(seed + 1000).lognormal(0, 0.5, 100).tolist()
        found += len(observe_all(noisy(100, seed), norms))
    assert found <= 1


def test_a_loss_that_falls_towards_zero_is_no_spike() -> None:
    assert observe_all([2.0 * 0.9**step for step in range(100)]) == {}


def test_losses_near_zero_that_differ_tenfold_are_no_spikes() -> None:
    losses = numpy.random.default_rng(0).lognormal(-6, 1.0, 200).tolist()
    assert observe_all(losses) == {}


def test_without_any_noise_a_little_more_is_no_spike() -> None:
    assert observe_all([2.0] * 50 + [2.1]) == {}
    assert list(observe_all([2.0] * 50 + [3.0])) == [51]


def test_a_fall_is_no_spike() -> None:
    assert observe_all([*noisy(50), 0.1]) == {}


@pytest.mark.parametrize(("before", "is_found"), [(FEWEST - 1, False), (FEWEST, True)])
def test_a_few_steps_must_have_been_seen(before: int, is_found: bool) -> None:
    assert bool(observe_all([*noisy(before), 9.0])) == is_found


def test_nothing_is_evaluated_while_the_rate_rises() -> None:
    losses = noisy(60)
    losses[25] = losses[50] = 9.0
    assert list(observe_all(losses, warmup=28)) == [51]
    assert observe_all(losses, warmup=40) == {}, "nor is it remembered"


def test_a_skipped_step_of_fp16_is_no_spike() -> None:
    norms = [1.0] * 40 + [math.inf, 1.0]
    assert observe_all(noisy(42), norms) == {}
