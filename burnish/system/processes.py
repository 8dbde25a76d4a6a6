"""The same work on many things, in several processes."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from burnish.errors import MachineError
from burnish.system.machine import collect_seldom

Thing = TypeVar("Thing")
Outcome = TypeVar("Outcome")
_AHEAD = 2
"""Things in flight for each process, so that none waits and memory stays bounded."""
_ONE_CORE = {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
_told: list[Callable[[Any], Any]] = []
"""What this process does, where it is one of several."""


def in_processes(work: Callable[[Thing], Outcome], things: Iterable[Thing], processes: int) -> Iterator[Outcome]:
    """What comes of each thing, in the order of the things.

    Args:
        work: sent to each process once; must have no memory of its own, so that it does not matter which does what.
        things: taken as they are needed.
        processes: 1 does all here.

    Raises:
        MachineError: a process was killed.
    """
    if processes == 1:
        yield from map(work, things)
        return
    from loky import BrokenProcessPool, ProcessPoolExecutor

    pool = ProcessPoolExecutor(processes, env=_ONE_CORE, initializer=_begin, initargs=(work,))
    waiting = iter(things)
    try:
        flying = deque(pool.submit(_do, thing) for thing in islice(waiting, _AHEAD * processes))
        while flying:
            outcome = flying.popleft().result()
            flying.extend(pool.submit(_do, thing) for thing in islice(waiting, 1))
            yield outcome
    except BrokenProcessPool as error:
        raise MachineError(
            f"one of {processes} processes was killed",
            "The machine may have run out of memory.",
            "Close other programs, or let fewer cores do it: `taskset -c 0 burnish ...`",
        ) from error
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _begin(work: Callable[[Any], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the first process ends the others
    collect_seldom()
    _told.append(work)


def _do(thing: Any) -> Any:
    (work,) = _told
    return work(thing)
