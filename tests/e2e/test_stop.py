"""Ctrl-C and SIGTERM: exit code 130, the state saved, and `resume` ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import burnish as burnish_api
from burnish.engine.checkpoint import is_complete
from burnish.errors import Interrupted
from burnish.runs.events import Stage, StepDone
from tests.e2e.command_result import CommandResult, adapter_bytes, listing, read_lines
from tests.e2e.conftest import LONG, LONG_STEPS, Burnish
from tests.forked import Forked


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)], ids=lambda number: number.name
)
def test_stopped_and_resumed(
    number: signal.Signals,
    here: Path,
    base: Path,
    rows_file: Path,
    start: Callable[[str], Forked],
    straight: bytes,
    burnish: Burnish,
) -> None:
    process = start(f"train {rows_file} --model {base} {LONG} --name mine")
    run = here / "runs" / "mine"
    deadline = time.monotonic() + 60
    while not ((run / "metrics.jsonl").exists() and len(read_lines(run / "metrics.jsonl", "StepDone")) >= 10):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    result = CommandResult(process.returncode, out, err)
    assert result.code == 130, err
    done = len(read_lines(run / "metrics.jsonl", "StepDone"))
    assert f"\nstopped after step {done} of {LONG_STEPS}; the state is saved\n\nhint: " in err
    assert "`burnish resume runs/mine`" in result.hint
    assert "Traceback" not in err
    assert is_complete(run / "checkpoints" / f"step-{done:06d}")
    assert not (run / "adapter").exists()

    shown = burnish("show mine")
    assert "can be resumed" in shown.out
    assert "  burnish resume runs/mine\n" in shown.out
    result = burnish("resume runs/mine")
    assert result.code == 0, result.err
    assert f"Continuing from step {done} of {LONG_STEPS}." in result.err
    assert adapter_bytes(run) == straight
    steps = [line["step"] for line in read_lines(run / "metrics.jsonl", "StepDone")]
    assert steps == list(range(1, LONG_STEPS + 1))


def test_stopped_twice(runs: Path, burnish: Burnish) -> None:
    """`stopped` is a run of `whole`'s recipe; here it is stopped once more, at once, by two signals."""

    def stop_at_once(event: Any) -> None:
        if isinstance(event, StepDone):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        burnish_api.resume(runs / "stopped", listeners=[stop_at_once])
    assert not [entry for entry in listing(runs) if ".writing-" in entry]
    assert burnish("resume stopped").code == 0
    assert adapter_bytes(runs / "stopped") == adapter_bytes(runs / "whole")
    steps = [line["step"] for line in read_lines(runs / "stopped" / "metrics.jsonl", "StepDone")]
    assert steps == [1, 2, 3, 4], "the repeated step is logged once"


def test_stopped_before_the_first_step_leaves_nothing(here: Path, base: Path, rows_file: Path) -> None:
    def stop(event: Any) -> None:
        if isinstance(event, Stage) and event.name == "loading the model":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        burnish_api.train(rows_file, model=base, listeners=[stop])
    assert listing(here) == []


def test_stopped_by_python_names_the_same_command(here: Path, base: Path, rows_file: Path) -> None:
    def stop(event: Any) -> None:
        if isinstance(event, StepDone):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted) as caught:
        burnish_api.train(
            rows_file, model=base, name="mine", max_steps=3, set={"evaluate.answers": 0}, listeners=[stop]
        )
    assert caught.value.exit_code == 130
    assert "`burnish resume runs/mine`" in caught.value.fix


def test_a_run_stopped_after_its_result_is_evaluated_on_resume(runs: Path, burnish: Burnish) -> None:
    """Killed while base and tuned model were being compared: nothing is trained again."""
    (runs / "whole" / "evaluation.json").unlink()
    before = adapter_bytes(runs / "whole")
    result = burnish("resume whole")
    assert result.code == 0, result.err
    assert "Continuing from step 4 of 4." in result.err
    assert (runs / "whole" / "evaluation.json").is_file()
    assert adapter_bytes(runs / "whole") == before
    assert len(read_lines(runs / "whole" / "metrics.jsonl", "StepDone")) == 4
