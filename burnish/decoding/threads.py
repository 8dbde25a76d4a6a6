"""How many threads compute the steps of a batch, tried from time to time.

With several threads each operation ends when the last of them has done its part. Where other programs take the
processors, operation after operation waits until the system gives a thread its turn, hundreds of times per token, and
fewer threads can be ten times as fast.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable
from itertools import cycle

_STEPS = 3
"""Of the same number of tokens, that are compared."""
_FIRST, _LONGEST = 1.0, 120.0
"""Seconds between trials: at first, and where one after the other has changed nothing."""
_FASTER, _SLOWER = 0.9, 1.2
"""Time of a step beside that before: with the first another number of threads is taken, the second ends a trial."""


class Threads:
    """Chooses between all threads and fewer.

    Args:
        most: all.
        clock: seconds from some moment on.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.number = most
        """For the next step."""
        self._clock, self._choices = clock, cycle(dict.fromkeys((1, max(1, most - 1), max(1, most // 2), most)))
        self._is_choice, self._taken = most > 1, most
        self._latest = deque[tuple[int, float]](maxlen=_STEPS)
        """Tokens and seconds of steps with the number that was taken."""
        self._tried: list[float] = []
        self._pause = _FIRST
        self._next = clock() + _FIRST

    def note(self, tokens: int, seconds: float) -> None:
        """Takes a step with so many tokens and the number of threads into account."""
        if not self._is_choice:
            return
        if self.number == self._taken:
            self._latest.append((tokens, seconds))
            if self._clock() >= self._next and [one for one, _ in self._latest] == [tokens] * _STEPS:
                self.number = next(number for number in self._choices if number != self._taken)
                self._tried = []
        elif tokens != self._latest[0][0]:
            self._end(self._taken, self._pause)  # nothing to compare with
        else:
            self._compare(seconds)

    def _compare(self, seconds: float) -> None:
        """Takes a step of a trial into account, and ends the trial where it is decided."""
        self._tried.append(seconds)
        before = statistics.median(seconds for _, seconds in self._latest)
        if self._tried[0] > _SLOWER * before:
            self._end(self._taken, min(2 * self._pause, _LONGEST))
        elif len(self._tried) == _STEPS:
            is_faster = statistics.median(self._tried) < _FASTER * before
            self._end(self.number if is_faster else self._taken, _FIRST if is_faster else 2 * self._pause)

    def _end(self, number: int, pause: float) -> None:
        self.number = self._taken = number
        self._latest.clear()
        self._pause = min(pause, _LONGEST)
        self._next = self._clock() + self._pause
