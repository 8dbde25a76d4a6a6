"""Curves for pages: read on as the log grows, of few points, with no spike lost."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from burnish.runs.folder import RunFolder
from burnish.studio.curves import (
    SPEED,
    TRAINING,
    VALIDATION,
    RunCurves,
    histogram,
    loss_chart,
    overlaid_chart,
    thinned,
)


def step(number: int, loss: float | None) -> str:
    event = {"event": "StepDone", "step": number, "total_steps": 20_000, "loss": loss, "tokens": 100, "seconds": 0.5}
    return json.dumps(event) + "\n"


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_a_log_is_read_on_as_it_grows(run: RunFolder) -> None:
    curves = RunCurves(run)
    assert curves.read() == {}
    run.metrics.write_text(step(1, 2.0) + step(2, None) + '{"event": "Vali')
    assert curves.read()[TRAINING] == [(1, 2.0)]
    with run.metrics.open("a") as file:
        file.write('dated", "step": 2, "loss": 1.5, "figures": {"accuracy": 0.5}}\n' + step(3, 1.0))
    found = curves.read()
    assert found[TRAINING] == [(1, 2.0), (3, 1.0)]
    assert (found[VALIDATION], found["accuracy"], found[SPEED][0]) == ([(2, 1.5)], [(2, 0.5)], (1, 200.0))
    assert curves.total_steps == 20_000


def test_a_log_that_was_cut_is_read_from_its_beginning(run: RunFolder) -> None:
    curves = RunCurves(run)
    run.metrics.write_text(step(1, 2.0) + step(2, 3.0))
    curves.read()
    run.metrics.write_text(step(1, 2.5))
    assert curves.read()[TRAINING] == [(1, 2.5)]


def test_long_curves_have_few_points_and_all_their_spikes() -> None:
    points = [(number, 50.0 if number == 12_345 else 1.0 + number % 7 / 10) for number in range(20_000)]
    few = thinned(points)
    assert len(few) <= 404
    assert (12_345, 50.0) in few
    assert (few[0], few[-1]) == (points[0], points[-1])
    assert few == sorted(few)


def test_charts_are_empty_without_points_and_safe_with_any_name() -> None:
    assert loss_chart({}, 10) == ""
    assert overlaid_chart(TRAINING, [("a", [])]) == ""
    drawn = overlaid_chart("<i>loss", [("<script>alert(1)</script>", [(0, 1.0), (1, 2.0)])])
    assert "<script" not in drawn
    assert "<i>" not in drawn
    assert "<b>" not in histogram('"><b>', [("<b>", 3)])


def test_names_of_curves_that_end_together_stand_apart_and_above_the_axis() -> None:
    drawn = overlaid_chart(TRAINING, [(f"run {number}", [(0, 3.0), (10, 0.0)]) for number in range(4)])
    heights = sorted(float(found) for found in re.findall(r'<text[^>]* y="([\d.]+)"[^>]*overname', drawn))
    assert len(heights) == 4
    assert heights[-1] <= 266, "the axis is at 270"
    assert all(lower - upper >= 14.9 for upper, lower in zip(heights, heights[1:], strict=False))
