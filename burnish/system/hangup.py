"""A terminal that is closed while a command runs: SIGHUP, and from then on every write to it fails."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

_STREAMS = (0, 1, 2)


class Ended(KeyboardInterrupt):
    """The process is asked to end, by another signal than Ctrl-C, which may end less."""


def ending_signals() -> tuple[signal.Signals, ...]:
    """The signals that ask a process to end; not SIGHUP where it is ignored, as under `nohup`, or does not exist."""
    asked = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        asked.append(signal.SIGHUP)
    return tuple(asked)


def is_hangup(number: int) -> bool:
    """Whether a signal says that the terminal was closed."""
    return hasattr(signal, "SIGHUP") and number == signal.SIGHUP


def terminals() -> list[int]:
    """Which of standard input, output and error are a terminal; only as long as that is open can one find out."""
    return [stream for stream in _STREAMS if _is_terminal(stream)]


def leave(streams: Iterable[int]) -> None:
    """Lets streams of a closed terminal lead nowhere, so that the command can save its state and end as usual."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in streams:
        os.dup2(nowhere, stream)
    os.close(nowhere)


def _is_terminal(stream: int) -> bool:
    try:
        return os.isatty(stream)
    except OSError:
        return False
