"""A disk that fills up: exit code 3, what was saved before survives, and `resume` goes on from it.

The disk is played by the limit that the system sets on the size of a file (RLIMIT_FSIZE): a write beyond it fails just
as one on a full disk does.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from burnish.engine.checkpoint import is_complete
from tests.e2e.command_result import CommandResult, adapter_bytes, listing
from tests.e2e.conftest import LONG, Burnish
from tests.forked import Forked

LIMIT_BYTES = 40_000
"""More than the logs of a run take, less than the weights of an adapter."""


@contextmanager
def files_up_to(limit: int) -> Iterator[None]:
    """In this process no file can be made larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_command_whose_disk_fills_up_while_saving(
    here: Path, base: Path, rows_file: Path, start: Callable[[str], Forked], straight: bytes, burnish: Burnish
) -> None:
    process = start(f"train {rows_file} --model {base} {LONG} --name full")
    run = here / "runs" / "full"
    deadline = time.monotonic() + 60
    while not (run / "checkpoints" / "step-000004").is_dir() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (LIMIT_BYTES, resource.RLIM_INFINITY))
    out, err = process.communicate(timeout=60)
    result = CommandResult(process.returncode, out, err)
    assert result.code == 3, err
    assert result.what.startswith("cannot write `")
    assert "runs/full/checkpoints/step-" in result.what
    assert result.hint == "Free some space on that disk, then continue with `burnish resume runs/full`"
    assert "Traceback" not in err
    saved = [path for path in (run / "checkpoints").iterdir()]
    assert saved
    assert all(path.name.startswith("step-") and is_complete(path) for path in saved)
    assert not (run / "adapter").exists()

    assert burnish("resume full").code == 0
    assert adapter_bytes(run) == straight


def test_a_disk_that_is_full_when_the_result_is_written(runs: Path, burnish: Burnish) -> None:
    assert burnish("resume stopped").code == 0
    undisturbed = adapter_bytes(runs / "stopped")
    (runs / "stopped" / "evaluation.json").unlink()
    with files_up_to(LIMIT_BYTES):
        result = burnish("resume stopped")
    assert result.code == 3, result.err
    assert result.what == "cannot write `runs/stopped/adapter`"
    assert "`burnish resume runs/stopped`" in result.hint
    assert adapter_bytes(runs / "stopped") == undisturbed
    assert not [entry for entry in listing(runs) if ".writing-" in entry]
    assert burnish("resume stopped").code == 0
    assert adapter_bytes(runs / "stopped") == undisturbed


@pytest.mark.parametrize("run", ["whole", "stopped"])
def test_reading_needs_no_disk(run: str, runs: Path, burnish: Burnish) -> None:
    with files_up_to(0):
        assert burnish(f"show {run}").code == 0
