"""Commands in forked children: a process that has imported everything starts one in milliseconds."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import resource
import select
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

_MORE_BYTES = 3 << 30
"""What a child may take on top of this process, so that a bomb ends the child and not the machine."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended."""

    code: int
    """Its exit code; negative for a signal."""
    output: str
    """Of both streams."""
    seconds: float
    """Of processor time, which does not depend on what else the machine does."""
    peak_bytes: int
    """Most resident memory, of which this process had some already when it forked."""
    is_late: bool
    """Whether it was killed for taking too long."""

    @property
    def is_unexpected(self) -> bool:
        """Whether a user would see a fault of Burnish: exit code 1, unless it says no to a question, a traceback, or a
        signal."""
        says_no = "Not reproduced: " in self.output
        return (self.code == 1 and not says_no) or self.code < 0 or "Traceback (most recent call last)" in self.output

    @property
    def last_line(self) -> str:
        """Its error, or what it said at the end."""
        lines = [line for line in self.output.splitlines() if line.strip()]
        return next((line for line in lines if line.startswith("error: ")), lines[-1] if lines else "")[:300]


MOST_SECONDS, MOST_BYTES = 10.0, 1_500_000_000


def faults_of(ended: Ended) -> list[str]:
    """What was wrong with how a command ended: by a fault of Burnish, or after more time or memory than it may take."""
    found = []
    if ended.is_late or ended.seconds > MOST_SECONDS:
        found.append("did not end" if ended.is_late else f"took {ended.seconds:.0f} s")
    elif ended.is_unexpected:
        found.append(f"ended with {ended.code}: {ended.last_line}")
    if ended.peak_bytes > MOST_BYTES:
        found.append(f"took {ended.peak_bytes / 1e9:.1f} GB")
    return found


def warm_up() -> None:
    """Imports what commands import, on one thread: threads do not survive a fork."""
    warm_up_libraries()
    importlib.import_module("burnish.cli.main")


def warm_up_libraries() -> None:
    """Imports what Burnish imports of others, and nothing of its own."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    import torch

    torch.set_num_threads(1)
    for name in ("peft", "transformers"):
        importlib.import_module(name)


def run_command(
    words: Sequence[str], folder: Path, seconds: float = 60.0, before: Callable[[], None] | None = None
) -> Ended:
    """Runs a command of Burnish.

    Args:
        words: what follows `burnish`.
        folder: that is the working directory.
        seconds: after which the child is killed.
        before: called in the child first.
    """

    def work() -> int:
        if before is not None:
            before()
        from burnish.cli.main import main

        return main(list(words))

    return in_child(work, folder, seconds)


_LAUNCHER = """
import os, sys
child = os.fork()
if child == 0:
    os.execv(sys.executable, [sys.executable, "-m", "burnish", *sys.argv[2:]])
_, status, usage = os.wait4(child, 0)
open(sys.argv[1], "w").write(f"{usage.ru_maxrss} {usage.ru_utime + usage.ru_stime}")
sys.exit(os.waitstatus_to_exitcode(status) % 256)
"""
"""Starts the command from a small process: a peak of memory counts what the process had before it began."""


def run_fresh(words: Sequence[str], folder: Path, seconds: float = 60.0) -> Ended:
    """Runs a command of Burnish as `run_command` does, but in a process that has imported nothing, as users do."""
    with tempfile.NamedTemporaryFile() as usage:
        given = [sys.executable, "-c", _LAUNCHER, usage.name, *words]
        ended = in_child(lambda: os.execv(sys.executable, given), folder, seconds)
        peak, took = map(float, usage.read().split() or (ended.peak_bytes / 1024, ended.seconds))
    return replace(ended, peak_bytes=int(peak * 1024), seconds=took)


def in_child(work: Callable[[], int], folder: Path, seconds: float = 60.0) -> Ended:
    """Runs `work` in a forked child; its result is the exit code.

    Args:
        work: may do anything to its process.
        folder: that is the working directory.
        seconds: after which the child is killed.
    """
    return Running(work, folder).end(seconds)


class Running:
    """A forked child that runs `work`, whose result is its exit code.

    Args:
        work: may do anything to its process.
        folder: that is the working directory.
    """

    def __init__(self, work: Callable[[], int], folder: Path) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        with tempfile.TemporaryFile() as file:
            self._output = os.dup(file.fileno())
        self.pid = os.fork()
        if self.pid == 0:
            _be_child(work, folder, self._output)
        self._descriptor = os.pidfd_open(self.pid)

    def has_ended(self, seconds: float = 0.0) -> bool:
        """Whether it ends within so many seconds."""
        return bool(select.select([self._descriptor], [], [], seconds)[0])

    def peek(self) -> int | None:
        """Its exit code or signal, without taking it from `end`; None while it runs."""
        found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
        return None if found is None else found.si_status

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal, unless it has ended."""
        if not self.has_ended():
            os.kill(self.pid, number)

    def end(self, seconds: float) -> Ended:
        """Waits for its end, and kills it if that takes longer than so many seconds."""
        is_late = not self.has_ended(seconds)
        if is_late:
            os.killpg(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        text = os.pread(self._output, os.fstat(self._output).st_size, 0).decode("utf-8", "replace")
        for descriptor in (self._descriptor, self._output):
            os.close(descriptor)
        code = os.waitstatus_to_exitcode(status)
        return Ended(code, text, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, is_late)


def _be_child(work: Callable[[], int], folder: Path, output: int) -> None:
    """Never returns."""
    code = 1
    try:
        os.setpgid(0, 0)
        for stream in (1, 2):
            os.dup2(output, stream)
        sys.stdin = io.StringIO()
        sys.stdout, sys.stderr = (os.fdopen(stream, "w", encoding="utf-8", closefd=False) for stream in (1, 2))
        os.chdir(folder)
        limit, outer = _address_space() + _MORE_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]
        if outer != resource.RLIM_INFINITY:  # of a child that runs this one: nothing may pass it
            limit = min(limit, outer)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = work()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001  whatever it is, it is to be seen
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
