"""The same work in several processes: in order, bounded, and reported when one of them dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

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
