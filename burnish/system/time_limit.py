"""A limit on the processor time of work that a stranger's file decides on, such as a template or a pattern."""

from __future__ import annotations

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
