"""A closed terminal and SIGTERM at any moment: the state is saved, and the command says how to go on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from burnish.engine.checkpoint import is_complete
from tests.e2e.command_result import adapter_bytes, read_lines
from tests.e2e.conftest import LONG, Burnish
from tests.forked import Forked, command, run_here

pytestmark = pytest.mark.skipif(os.name == "nt", reason="there is no such signal")


def wait_until(happened: Callable[[], bool], child: Forked | None = None) -> None:
    deadline = time.monotonic() + 60
    while True:
        has_ended = child is not None and child.poll() is not None
        if happened():
            return
        if has_ended or time.monotonic() > deadline:
            if child is not None and not has_ended:
                os.kill(child.pid, signal.SIGABRT)  # pytest has it write where it is
            pytest.fail(f"it does not happen; the child wrote: {child.communicate(30) if child is not None else ''}")
        time.sleep(0.005)


def num_steps(run: Path) -> int:
    return len(read_lines(run / "metrics.jsonl", "StepDone")) if (run / "metrics.jsonl").exists() else 0


def test_a_closed_terminal_saves_the_state(
    here: Path, base: Path, rows_file: Path, burnish: Burnish, straight: bytes
) -> None:
    import pty

    words = f"train {rows_file} --model {base} {LONG} --name mine"
    child, terminal = pty.fork()
    if child == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests themselves may run under `nohup`
        run_here(command(words.split()))
    run = here / "runs" / "mine"
    os.set_blocking(terminal, False)

    def has_begun() -> bool:
        with contextlib.suppress(BlockingIOError):
            os.read(terminal, 1 << 16)  # a terminal that nobody reads blocks its writer
        return num_steps(run) >= 10

    wait_until(has_begun)
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 130
    assert is_complete(run / "checkpoints" / f"step-{num_steps(run):06d}")
    assert burnish("resume runs/mine").code == 0
    assert adapter_bytes(run) == straight


@pytest.mark.slow
def test_under_nohup_it_goes_on(here: Path, base: Path, rows_file: Path, straight: bytes) -> None:
    words = f"train {rows_file} --model {base} {LONG} --name mine"
    command = ["nohup", sys.executable, "-m", "burnish", *words.split()]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    run = here / "runs" / "mine"
    wait_until(lambda: num_steps(run) >= 10)
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 0
    assert adapter_bytes(run) == straight


def test_stopped_while_it_is_evaluated(
    here: Path, base: Path, rows_file: Path, start: Callable[[str], Forked], burnish: Burnish
) -> None:
    process = start(f"train {rows_file} --model {base} --name mine --set train.max_steps=2 --set evaluate.answers=16")
    events = here / "runs" / "mine" / "events.jsonl"
    wait_until(lambda: events.exists() and "evaluating the base model" in events.read_text(encoding="utf-8"), process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (130, False), err
    assert "stopped\n\nhint: Continue with `burnish resume runs/mine`" in err
    assert burnish("resume runs/mine").code == 0
