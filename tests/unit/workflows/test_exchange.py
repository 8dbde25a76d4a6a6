"""The report on processes that are to train together."""

from __future__ import annotations

import dataclasses

import torch

from burnish.workflows.exchange import ExchangeReport, measure_exchange
from tests.together import Solo

SOUND = ExchangeReport(4, 2, True, 2e-4, 1e9, 0.01, [])


def test_nothing_stands_in_the_way_of_sound_processes() -> None:
    assert SOUND.problems == []
    assert SOUND.verdict == "4 processes can train together here."
    lines = dict(SOUND.lines())
    assert lines["processes"] == "4 on 2 machines"
    assert lines["a few numbers"].startswith("0.20 ms")


def test_each_problem_is_named() -> None:
    wrong = dataclasses.replace(SOUND, is_exact=False)
    assert not wrong.can_train
    assert "did not get the right sum" in wrong.problems[0]
    mixed = dataclasses.replace(SOUND, other_versions=["peft", "torch"])
    assert mixed.verdict == "4 processes cannot train together here yet."
    assert "`peft`, `torch`" in mixed.problems[0]
    late = dataclasses.replace(SOUND, clock_seconds=90.0)
    assert late.can_train
    assert "differ by 90 s" in late.problems[0]


def test_a_process_measures_itself() -> None:
    report = measure_exchange(Solo(), torch.device("cpu"))
    assert (report.processes, report.machines, report.is_exact, report.other_versions) == (1, 1, True, [])
    assert report.to_dict()["can_train"] is True
