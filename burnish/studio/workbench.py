"""A process that has the libraries loaded, and does one piece of work after the other for the pages."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import Any

from burnish.studio.inspection import warm_up
from burnish.system.processes import end_with

_KILLED = {
    "error": {
        "what": "the process that did this was killed",
        "why": "The machine may have run out of memory.",
        "fix": "Close other programs, or use fewer rows or a smaller model",
    }
}
_NICE = 5
_PATIENCE_SECONDS = 1.0


class Workbench:
    """One process, started when it is needed first. It ends with this one, even if that is killed."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def begin(self) -> None:
        """Starts the process, so that the libraries are there when they are needed."""
        if self._pool is None:
            self._started().submit(warm_up)

    async def ask(self, work: Callable[..., dict[str, Any]], *given: Any) -> dict[str, Any]:
        """Does a piece of work there. If it is cancelled before its turn, it is never done.

        Args:
            work: a function of `inspection`.
            given: its arguments.
        """
        try:
            return await asyncio.wrap_future(self._started().submit(work, *given))
        except BrokenProcessPool:
            self._pool = None  # the next piece of work has a new process
            return _KILLED

    def close(self) -> None:
        """Ends the process."""
        if self._pool is not None:
            _cancel_all(self._pool)
            self._pool = None
            for child in multiprocessing.active_children():
                child.terminate()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # loky would start the process again and again: libraries take more memory than it allows a worker to gain
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, context, _prepare, (os.getpid(),))
        return self._pool


def _cancel_all(pool: ProcessPoolExecutor) -> None:
    """Cancels what has not begun yet, and waits until the pool has forgotten it.

    If the process ended before that, the pool would mark what was cancelled earlier as failed, which is an error.
    """
    with suppress(BrokenProcessPool):
        last = pool.submit(warm_up)
        pool.shutdown(wait=False, cancel_futures=True)
        end = time.monotonic() + _PATIENCE_SECONDS
        while not (last.running() or last.done()) and time.monotonic() < end:
            time.sleep(0.005)


def _prepare(parent: int) -> None:
    """Lets trainings go first, and ends this process with the one that started it."""
    from burnish.system.machine import prepare_process

    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    prepare_process()
    if hasattr(os, "nice"):
        os.nice(_NICE)
    end_with(parent)
