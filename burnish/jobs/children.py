"""Child processes that outlive their parent: started apart from it, and found again by number and start time."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from burnish.system.processes import start_of

_SAME_START_SECONDS = 2.0
"""The system rounds the start of a process; a number is not used again this soon."""
_SECRETS = ("BURNISH_API_KEY",)
"""Variables that are the server's alone."""


@dataclass(frozen=True, slots=True)
class Child:
    """A process that was started once, and that may have ended since."""

    process: int
    started: float
    """In seconds since the epoch."""


class Children:
    """The processes that this one has started, or found again."""

    def __init__(self) -> None:
        self._own: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, words: Sequence[str], out: Path, log: Path, is_aside: bool = False) -> Child:
        """Starts a command of Burnish in a session of its own, so that what ends the server does not end it.

        Args:
            words: what follows `burnish`.
            out: file that receives its standard output; a former one is removed, not written over, because a process
                that was forgotten may still write into that.
            log: file to which its standard error is added.
            is_aside: whether it gives way to other processes.

        Raises:
            OSError: it cannot be started.
        """
        out.unlink(missing_ok=True)
        environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
        with out.open("wb") as written, log.open("ab") as logged:
            process = subprocess.Popen(
                [sys.executable, "-m", "burnish", *words],
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=logged,
                env=environment,
                start_new_session=True,
            )
        self._own[process.pid] = process
        if is_aside:
            with contextlib.suppress(psutil.Error):
                psutil.Process(process.pid).nice(10 if sys.platform != "win32" else psutil.BELOW_NORMAL_PRIORITY_CLASS)
        return Child(process.pid, start_of(process.pid))

    def is_alive(self, child: Child) -> bool:
        """Whether a child still runs."""
        if child.process in self._own:
            return self._own[child.process].poll() is None
        return _is_same(child)

    def stop(self, child: Child, at_once: bool = False) -> None:
        """Asks a child to save its state and end, or ends it at once.

        Windows has no such request: there the child ends at once, and goes on from its last checkpoint.
        """
        if self.is_alive(child):
            number = signal.SIGTERM if not at_once or sys.platform == "win32" else signal.SIGKILL
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.process, number)


def find_child(word: str) -> Child | None:
    """A command of Burnish that has this word, for example the path of a file that no other command reads.

    Args:
        word: one of its words.
    """
    for process in psutil.process_iter(["cmdline"]):
        if word in (process.info["cmdline"] or ()):
            with contextlib.suppress(psutil.Error):
                found = Child(process.pid, process.create_time())
                if _is_same(found):
                    return found
    return None


def child_of(record: Mapping[str, object] | None) -> Child | None:
    """The child of a record in JSON; None if it has none."""
    if record is None:
        return None
    process, started = record.get("process"), record.get("started")
    if not isinstance(process, int) or not isinstance(started, int | float) or process <= 0:
        return None
    return Child(process, float(started))


def _is_same(child: Child) -> bool:
    """Whether a process exists that is this child, and has not ended without being waited for."""
    try:
        process = psutil.Process(child.process)
        is_same = abs(process.create_time() - child.started) <= _SAME_START_SECONDS
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
