"""Maps a function over items in several processes, knows when a process started, and ends one with its parent."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from burnish.errors import MachineError
from burnish.system.machine import collect_rarely, refuse_hub_kernels

Item = TypeVar("Item")
Result = TypeVar("Result")
_AHEAD = 2
"""Items in flight per process: enough that none waits, few enough that memory stays bounded."""
_WATCH_SECONDS = 1.0
_ONE_CORE = {"TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
_work: list[Callable[[Any], Any]] = []
"""The function of this worker process."""


def start_of(process: int) -> float:
    """When a process started, in seconds since the epoch; 0 if there is none of that number."""
    import psutil

    try:
        return psutil.Process(process).create_time()
    except psutil.Error:
        return 0.0


def end_with(parent: int) -> None:
    """Ends this process about a second after its parent has ended, even if that was killed.

    Python's pools wait for a pipe to be closed, which never happens while two workers hold its ends.

    Args:
        parent: the number of the process that started this one.
    """
    threading.Thread(target=_end_after, args=(parent,), daemon=True).start()


def _end_after(parent: int) -> None:
    import psutil

    while psutil.pid_exists(parent) and (not hasattr(os, "getppid") or os.getppid() == parent):
        time.sleep(_WATCH_SECONDS)
    os._exit(0)


def in_processes(work: Callable[[Item], Result], items: Iterable[Item], processes: int) -> Iterator[Result]:
    """Yields the result of each item, in order.

    Args:
        work: sent to each process once; must be stateless, so that it does not matter which process handles which item.
        items: the input, consumed as needed.
        processes: 1 runs everything in this process.

    Raises:
        MachineError: a process was killed.
    """
    if processes == 1:
        yield from map(work, items)
        return
    from loky import BrokenProcessPool, ProcessPoolExecutor

    pool = ProcessPoolExecutor(processes, env=_ONE_CORE, initializer=_begin, initargs=(work, os.getpid()))
    waiting = iter(items)
    try:
        in_flight = deque(pool.submit(_do, item) for item in islice(waiting, _AHEAD * processes))
        while in_flight:
            result = in_flight.popleft().result()
            in_flight.extend(pool.submit(_do, item) for item in islice(waiting, 1))
            yield result
    except BrokenProcessPool as error:
        raise MachineError(
            f"one of {processes} processes was killed",
            "The machine may have run out of memory.",
            "Close other programs, or use fewer cores: `taskset -c 0 burnish ...`",
        ) from error
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _begin(work: Callable[[Any], Any], parent: int) -> None:
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent ends its workers
    collect_rarely()
    refuse_hub_kernels()
    _work.append(work)


def _do(item: Any) -> Any:
    (work,) = _work
    return work(item)
