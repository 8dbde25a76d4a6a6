"""Limits on the processor time and the memory of work that a stranger's file decides on, such as a template or a
pattern."""

from __future__ import annotations

import mmap
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class TooSlow(BaseException):
    """The time is over; no library takes it for an error of its own."""


@contextmanager
def limited_time(seconds: float) -> Iterator[None]:
    """While entered, the process may compute for so long. One limit cannot be inside another.

    It is watched in the main thread alone, where Python handles signals, and not on Windows, which has no such timer.

    Raises:
        TooSlow: it has computed longer.
    """
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)


class LimitedMemory:
    """A limit on what this process allocates, which all of its threads share. It leaves out the stack: a process that
    cannot make its stack longer is killed. Only Linux has such a limit."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entered = 0
        self._before = (0, 0)

    @contextmanager
    def limited(self, size: int) -> Iterator[None]:
        """While entered, also by several threads at once, the process gets no more than so many bytes on top.

        Raises:
            MemoryError: it asks for more.
        """
        if sys.platform != "linux":
            yield
            return
        with self._lock:
            if self._entered == 0:
                self._begin(size)
            self._entered += 1
        try:
            yield
        finally:
            with self._lock:
                self._entered -= 1
                if self._entered == 0:
                    self._end()

    def _begin(self, size: int) -> None:
        import resource

        self._before = soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        used = _allocated()
        lower = used + size if soft == resource.RLIM_INFINITY else min(used + size, soft)
        resource.setrlimit(resource.RLIMIT_DATA, (lower, hard))

    def _end(self) -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, self._before)


def _allocated() -> int:
    """Bytes of data and stack of this process. Called for every conversation, so without the layers of `open`."""
    file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(file, 100).split()[5]) * mmap.PAGESIZE
    finally:
        os.close(file)
