"""The same work in several processes: in order, bounded, and reported when one of them dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from burnish.errors import MachineError
from burnish.system.processes import in_processes


def squared(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


@pytest.mark.parametrize("processes", [1, 2])
def test_outcomes_come_in_the_order_of_the_things(processes: int) -> None:
    outcomes = list(in_processes(squared, range(40), processes))
    assert [value for value, _ in outcomes] == [number * number for number in range(40)]
    assert (os.getpid() in {process for _, process in outcomes}) is (processes == 1)


def test_things_are_taken_as_they_are_needed() -> None:
    taken = []

    def things() -> Iterator[int]:
        for number in range(1_000):
            taken.append(number)
            yield number

    outcomes = in_processes(squared, things(), 2)
    for _ in range(10):
        next(outcomes)
    assert len(taken) <= 15
    outcomes.close()


def dies(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_process_that_is_killed_is_reported() -> None:
    with pytest.raises(MachineError, match="processes was killed"):
        list(in_processes(dies, range(8), 2))


def fails(number: int) -> int:
    raise ValueError(f"not {number}")


def test_an_error_is_that_of_the_work() -> None:
    with pytest.raises(ValueError, match="not 0"):
        list(in_processes(fails, range(8), 2))


def goes_on(number: int) -> bytes:
    """More than a pipe holds, so that a worker whose result nobody reads waits in the middle of writing it."""
    os.write(1, f"{os.getpid()}\n".encode())  # in one piece, beside those of others
    return bytes(1_000_000)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are killed with a signal")
def test_processes_end_with_a_parent_that_is_killed() -> None:
    program = (
        "from burnish.system.processes import in_processes\n"
        "from tests.unit.system.test_processes import goes_on\n"
        "for _ in in_processes(goes_on, iter(int, 1), 2): pass\n"
    )
    folder = Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=folder) as parent:
        assert parent.stdout is not None
        workers: set[int] = set()
        while len(workers) < 2:
            workers.add(int(parent.stdout.readline()))
        processes = [psutil.Process(worker) for worker in workers]
        parent.kill()
        alive = living_after(60, processes)
    for process in alive:
        process.kill()
    assert not alive


def living_after(seconds: float, processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that run all that time. One that has ended, and whose exit code nobody has asked for, does not run."""
    end = time.monotonic() + seconds
    while processes and time.monotonic() < end:
        processes = [process for process in processes if runs(process)]
        time.sleep(0.1)
    return processes


def runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
