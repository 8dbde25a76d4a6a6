"""What a run shows about the noise of its training."""

from __future__ import annotations

import math
from typing import Any

import pytest

from burnish.evaluate.noise import late_values, run_noise


def metrics(steps: int, every: int, losses: list[float], rate: float = 0.0) -> list[dict[str, Any]]:
    """The lines of a run: a rate that falls by a cosine, unless one is given, and validations at equal distances."""
    lines: list[dict[str, Any]] = [{"event": "Validated", "step": 0, "loss": 9.0, "figures": {"accuracy": 0.0}}]
    for step in range(1, steps + 1):
        falling = (1 + math.cos(math.pi * step / steps)) / 2
        lines.append({"event": "StepDone", "step": step, "learning_rate": rate or falling})
        if step % every == 0 or step == steps:
            loss = losses[-(-step // every) - 1]
            lines.append({"event": "Validated", "step": step, "loss": loss, "figures": {"accuracy": 1 - loss}})
    return lines


def test_late_is_the_second_half_of_the_way() -> None:
    """At a steady rate that is half of the steps; at one that falls by a cosine it begins earlier."""
    losses = [float(number) for number in range(1, 21)]
    assert late_values(metrics(40, 2, losses, rate=1.0), "loss") == losses[9:]
    assert late_values(metrics(40, 2, losses), "loss") == losses[5:]
    assert late_values(metrics(40, 2, losses, rate=1.0), "accuracy") == [1 - loss for loss in losses[9:]]


def test_at_least_five_where_there_are_five_and_never_the_base() -> None:
    losses = [5.0, 4.0, 3.0, 2.0, 1.0, 0.5]
    assert late_values(metrics(12, 2, losses, rate=1.0), "loss") == losses[1:]
    assert late_values(metrics(4, 1, losses[:4], rate=1.0), "loss") == losses[:4]


def test_a_validation_out_of_the_rhythm_is_passed_by() -> None:
    losses = [float(number) for number in range(1, 12)]
    assert late_values(metrics(41, 4, losses, rate=1.0), "loss") == losses[5:10]


def test_too_few_validations_or_another_metric_show_nothing() -> None:
    assert run_noise(metrics(4, 1, [4.0, 3.0, 2.0, 1.0]), "loss") is None
    assert run_noise(metrics(20, 2, [0.5] * 10), "entity F1") is None
    assert run_noise([], "loss") is None


def test_jitter_around_the_curve_is_found() -> None:
    losses = [1 - 0.02 * number + 0.05 * (-1) ** number for number in range(20)]
    result = run_noise(metrics(40, 2, losses), "loss")
    assert result is not None
    assert math.sqrt(result.variance) == pytest.approx(0.2 / math.sqrt(6), rel=0.01)
