"""A second writer beside a run: refused at any moment, by the command and by the workflow; readers are let in."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import burnish as burnish_api
from burnish.runs.lock import RECORD, Locked
from tests.e2e.command_result import read_lines
from tests.e2e.conftest import LONG, LONG_STEPS, Burnish
from tests.forked import Forked

WRITERS = ("resume mine", "train {rows} --name mine", "merge mine", "evaluate mine", "report mine", "eject mine")


@pytest.fixture
def running(here: Path, base: Path, rows_file: Path, start: Callable[[str], Forked]) -> tuple[Path, Forked]:
    """The folder of a run that trains in another process, and the process."""
    endless = LONG.replace(f"max_steps={LONG_STEPS}", "max_steps=4000").replace("epochs=100", "epochs=4000")
    process = start(f"train {rows_file} --model {base} {endless} --name mine")
    run = here / "runs" / "mine"
    deadline = time.monotonic() + 60
    while not (run / RECORD).exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return run, process


def test_none_writes(running: tuple[Path, Forked], rows_file: Path, burnish: Burnish) -> None:
    run, process = running
    early = burnish(f"train {rows_file} --name mine")  # before the first step: the name is taken already
    assert early.code == 2
    assert f"is being trained by process {process.pid} on " in early.what
    while not (run / "checkpoints" / "step-000004").is_dir():
        time.sleep(0.005)
    source = random.Random()
    for words in WRITERS:
        time.sleep(source.random() * 0.05)
        result = burnish(words.format(rows=rows_file))
        assert result.code == 2, words
        assert f"by process {process.pid} on " in result.what + result.why, words
        assert result.hint
    for attempt in (burnish_api.resume, lambda folder: burnish_api.train(rows_file, name="mine")):
        with pytest.raises(Locked, match=f"by process {process.pid} on "):
            attempt(run)
    assert not [name for name in ("report.html", "merged", "eject.py", "evaluation.json") if (run / name).exists()]
    assert process.poll() is None
    process.kill()
    process.wait()
    steps = [line["step"] for line in read_lines(run / "metrics.jsonl", "StepDone")]
    assert steps == list(range(1, len(steps) + 1))


def test_readers_are_let_in_and_see_that_it_runs(running: tuple[Path, Forked], burnish: Burnish) -> None:
    run, process = running
    while not (run / "checkpoints" / "step-000004").is_dir():
        time.sleep(0.005)
    (listed,) = burnish("runs --json").json["runs"]
    assert (listed["state"], listed["step"] > 0) == ("running", True)
    assert "running" in burnish("runs").out
    shown = burnish("show mine").out
    assert f"running, being trained by process {process.pid} on " in shown
    assert "burnish resume" not in shown
    assert burnish("report mine --out page.html").code == 0
    assert burnish("reproduce mine --steps 1").code == 0
    process.kill()
    process.wait()
    assert burnish("runs --json").json["runs"][0]["state"] == "can be resumed"
    assert "burnish resume runs/mine" in burnish("show mine").out
