"""Ctrl-C and SIGTERM as a wish that the loop grants at the next whole step."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class StopSignal:
    """While entered, the first SIGINT or SIGTERM only sets `wanted`; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.wanted = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():  # only there may handlers be set
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.wanted and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.wanted = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
