"""The number of threads that compute."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from burnish.decoding.threads import Threads


class Machine:
    """Steps whose time depends on the number of threads."""

    def __init__(self, most: int, seconds: Callable[[int], float]) -> None:
        self.now, self.seconds = 0.0, seconds
        self.threads = Threads(most, lambda: self.now)

    def run(self, until: float, tokens: Callable[[], int] = lambda: 8) -> list[int]:
        """The number of threads of each step."""
        found = []
        while self.now < until:
            number, size = self.threads.number, tokens()
            seconds = self.seconds(number) * size / 8
            self.now += seconds
            self.threads.note(size, seconds)
            found.append(number)
        return found


def quiet(number: int) -> float:
    """Seconds of a step on a machine with nothing else to do."""
    return 0.02 + 0.08 / number


def busy(number: int) -> float:
    """The same where another program takes a processor."""
    return 1.0 if number > 1 else 0.1


def test_all_threads_are_kept_where_they_are_faster() -> None:
    numbers = Machine(2, quiet).run(600)
    assert numbers.count(1) < 20, "each trial is a step, and they become rare"
    assert 1 in numbers


def test_one_thread_is_taken_where_the_others_wait_and_all_again_later() -> None:
    machine = Machine(2, busy)
    machine.run(10)
    assert machine.threads.number == 1
    numbers = machine.run(130)
    assert numbers.count(2) < 10, "of a thousand steps"
    machine.seconds = quiet
    machine.run(400)
    assert machine.threads.number == 2


def test_of_many_threads_fewer_are_taken() -> None:
    machine = Machine(8, lambda number: 1.0 if number == 8 else quiet(number))
    machine.run(60)
    assert machine.threads.number == 7


def test_only_steps_of_as_many_tokens_are_compared() -> None:
    drawn = random.Random(0)
    machine = Machine(2, quiet)
    machine.run(2000, lambda: drawn.choice((1, 8, 64)))
    assert machine.threads._taken == 2, "one more may be on trial"


@pytest.mark.parametrize("seconds", [quiet, busy])
def test_a_single_thread_is_no_choice(seconds: Callable[[int], float]) -> None:
    assert set(Machine(1, seconds).run(100)) == {1}
