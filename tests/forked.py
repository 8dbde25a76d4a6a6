"""Forked children of the test process: they need not import torch again, which takes seconds of a core."""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from typing import NoReturn


class Forked:
    """A child, with what tests ask of a `subprocess.Popen`.

    Args:
        act: what it does; returns its exit code.
    """

    def __init__(self, act: Callable[[], int]) -> None:
        self.returncode: int | None = None
        self._streams = [_unnamed_file(), _unnamed_file()]
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            for number, stream in enumerate(self._streams, start=1):
                os.dup2(stream, number)
            run_here(act)

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if self.returncode is None and (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            self.returncode = os.waitstatus_to_exitcode(ended[1])
        return self.returncode

    def terminate(self) -> None:
        """Asks it to end, as `kill` and a shutdown do."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self, timeout: float = 60) -> int:
        """Waits for its exit code.

        Raises:
            subprocess.TimeoutExpired: it runs on.
        """
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("burnish", timeout)
            time.sleep(0.005)
        return code

    def communicate(self, timeout: float = 60) -> tuple[str, str]:
        """Waits for its end, and returns what it wrote to both streams."""
        self.wait(timeout)
        return self.written(0), self.written(1)

    def send_signal(self, number: int) -> None:
        """Sends it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills it."""
        self.send_signal(signal.SIGKILL)

    def written(self, stream: int) -> str:
        """What it has written so far: 0 for its output, 1 for its errors."""
        place = self._streams[stream]  # read without a move: the child writes where this descriptor is
        return os.pread(place, os.fstat(place).st_size, 0).decode("utf-8")

    def close(self) -> None:
        """Kills it if it still runs."""
        if self.poll() is None:
            self.kill()
            self.wait()
        for stream in self._streams:
            os.close(stream)


def _unnamed_file() -> int:
    """The descriptor of an empty file."""
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def command(words: Sequence[str]) -> Callable[[], int]:
    """Runs a command in the working directory.

    Args:
        words: what follows `burnish`.
    """

    def act() -> int:
        from burnish.cli.main import main

        sys.argv = ["burnish", *words]
        return main()

    return act


def run_here(act: Callable[[], int]) -> NoReturn:
    """Does something in this process, which a fork has just made, and ends it as Python ends one."""
    code = 1
    try:
        atexit._clear()  # what the tests have registered is for them
        logging.getLogger().handlers.clear()
        sys.stdin = io.StringIO()
        sys.stdout, sys.stderr = (os.fdopen(stream, "w", encoding="utf-8", closefd=False) for stream in (1, 2))
        code = act()
        atexit._run_exitfuncs()
    except BaseException:  # noqa: BLE001  whatever it is, the test has to see it
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
