"""How much of the processor other programs use."""

from __future__ import annotations

from types import TracebackType

BUSY = 0.2
"""Share of the processor used by other programs above which a measured time is not to be relied on."""
_SHORT = 0.02
"""Seconds below which the system's counters, which tick a hundred times a second, say nothing."""


class OtherPrograms:
    """A context manager that measures the share of all cores that other programs used inside of it.

    Attributes:
        share: 0 to 1; 0 where the time was too short to say.
    """

    def __init__(self) -> None:
        self.share = 0.0

    def __enter__(self) -> OtherPrograms:
        self._busy, self._all, self._own = _seconds()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        busy, whole, own = _seconds()
        if whole - self._all > _SHORT:
            share = (busy - self._busy - (own - self._own)) / (whole - self._all)
            self.share = min(1.0, max(0.0, share))


def _seconds() -> tuple[float, float, float]:
    """Seconds of all cores together: in use, in total, and in use by this process."""
    import psutil

    times, own = psutil.cpu_times(), psutil.Process().cpu_times()
    # `guest` is a part of `user` where it is counted at all
    whole = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    idle = times.idle + getattr(times, "iowait", 0.0)
    return whole - idle, whole, own.user + own.system
