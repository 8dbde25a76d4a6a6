"""One writer at a time: the lock of a run folder, and the record of who holds it.

    .lock           held by the operating system for as long as the writer lives; a killed process holds nothing
    .writer.json    the writer: process, host, since when, doing what

Both are removed when the writer ends. The lock decides and the record explains: a record without a lock was left by a
process that was killed. Only the record of another host is believed without one, because a shared file system need not
show its locks here.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from burnish.errors import InputError
from burnish.runs.atomic import as_disk_error, remove_leftovers, write_json
from burnish.system.processes import start_of
from burnish.system.shell import quoted
from burnish.visible import parse_json

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK, RECORD = ".lock", ".writer.json"
_WRITTEN_INTO = ("checkpoints", "adapter", "model")
"""Folders of a run into which files are written one by one."""
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MOST = 2**32
"""Above every process number, and every time for a long while."""
_SAME_START_SECONDS = 2.0
"""The system rounds the start of a process; a number is not used again this soon."""
_ATTEMPTS, _PAUSE_SECONDS = 10, 0.05
"""The record appears a moment after its lock."""


class Locked(InputError):
    """Another process writes the run."""


@dataclass(frozen=True, slots=True)
class Writer:
    """A process that writes a run."""

    process: int
    host: str
    boot: str
    """Differs between machines, and between two starts of one; empty where the system does not say."""
    process_started: float
    """In seconds since the epoch: another process may have been given the same number since."""
    since: float
    """When it began to write, in seconds since the epoch."""
    doing: str
    """`trained`, `swept`, `merged`, `evaluated`, `reported` or `ejected`: what happens to the run."""

    @classmethod
    def here(cls, doing: str) -> Writer:
        """This process."""
        process = os.getpid()
        return cls(process, socket.gethostname(), _boot(), start_of(process), time.time(), doing)

    @property
    def is_plausible(self) -> bool:
        """Whether it could be ours: a record may be damaged, or come from someone else."""
        texts = (self.host, self.boot, self.doing)
        times = (self.process_started, self.since)
        return (
            all(isinstance(text, str) for text in texts)
            and isinstance(self.process, int)
            and 0 < self.process < _MOST
            and all(isinstance(time, int | float) and 0 <= time < _MOST for time in times)
        )

    @property
    def is_on_this_machine(self) -> bool:
        """Whether its lock would be visible here. Containers on one machine have names of their own."""
        return self.host == socket.gethostname() or (self.boot != "" and self.boot == _boot())

    @property
    def is_alive(self) -> bool:
        """Whether the process exists; assumed of another machine's."""
        if not self.is_on_this_machine:
            return True
        return abs(start_of(self.process) - self.process_started) <= _SAME_START_SECONDS

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.since))
        return f"{self.doing} by process {self.process} on {self.host} since {since}"


def writer_of(folder: Path) -> Writer | None:
    """Who writes a run folder, as far as its record says; None if that process is gone. Takes no lock."""
    found = _recorded(folder)
    return found if found is not None and found.is_alive else None


_INSTEAD = {
    "trained": "Wait until it has ended, or stop it with Ctrl-C there; a new run needs another `--name`",
    "swept": "Wait until it has ended, or stop it with Ctrl-C there; another sweep needs another `--name`",
    "merged": "Wait until it has ended, or merge into another folder: `burnish merge {run} --out FOLDER`",
    "evaluated": "Wait until it has ended, or evaluate other rows: `burnish evaluate {run} other.jsonl`",
    "reported": "Write the report elsewhere: `burnish report {run} --out report.html`",
    "ejected": "Wait until it has ended, or write the script elsewhere: `burnish eject {run} --out FILE.py`",
}
"""What a user can do while another process has the lock, by what they wanted."""


def check_free(folder: Path, target: Path, doing: str) -> None:
    """Refuses early, by the record alone, what `lock_for` would refuse. What a killed writer left is removed.

    Raises:
        Locked: another process writes the run.
        InputError: a killed writer left something, and the folder cannot be written.
    """
    if not _is_inside(folder, target):
        return
    if (writer := writer_of(folder)) is not None:
        raise _refusal(folder, writer, doing)
    if (folder / RECORD).is_file():
        with write_lock(folder, doing):
            pass  # it has removed the leftovers


@contextlib.contextmanager
def write_lock(folder: Path, doing: str) -> Iterator[Writer | None]:
    """Makes this process the only writer of a run folder. Yields the writer that was killed before it, if any.

    What killed writers left behind unfinished is removed.

    Args:
        folder: of the run; it exists.
        doing: what happens to the run, see `Writer.doing`.

    Raises:
        Locked: another process writes the run, or one on another host may do so.
        InputError: the folder cannot be written.
        MachineError: the disk is full.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(str(folder / LOCK), blocking=False)
    try:
        with as_disk_error(folder):
            lock.acquire()
    except Timeout:
        raise _refusal(folder, _awaited(folder), doing) from None
    except (PermissionError, NotADirectoryError) as error:
        raise InputError(
            f"cannot write into the run folder `{folder}`",
            f"{error.strerror}.",
            "Change its permissions, or copy the run to a folder of your own",
        ) from error
    try:
        before = _recorded(folder)
        if before is not None and not before.is_on_this_machine:
            raise _other_host(folder, before)
        for place in (folder, *(folder / name for name in _WRITTEN_INTO)):
            remove_leftovers(place)
        write_json(folder / RECORD, asdict(Writer.here(doing)))
        try:
            yield before
        finally:
            (folder / RECORD).unlink(missing_ok=True)
    finally:
        _release(lock, folder / LOCK)


def _release(lock: BaseFileLock, path: Path) -> None:
    """Frees the lock and removes its file. Whoever opened the file before finds that it is gone, and is refused."""
    try:
        path.unlink(missing_ok=True)
        lock.release()
    except PermissionError:  # Windows removes no open file: neither ours nor, a line later, that of the next writer
        lock.release()
        with contextlib.suppress(OSError):
            path.unlink()


def lock_for(folder: Path, target: Path, doing: str) -> AbstractContextManager[Writer | None]:
    """`write_lock` where `target` is in the run folder; no lock for a file or folder elsewhere."""
    return write_lock(folder, doing) if _is_inside(folder, target) else contextlib.nullcontext()


def _is_inside(folder: Path, target: Path) -> bool:
    return folder.resolve() in (target.resolve(), *target.resolve().parents)


def _awaited(folder: Path) -> Writer | None:
    """The writer that holds the lock; None if it wrote no record for half a second."""
    for _ in range(_ATTEMPTS):
        if (found := writer_of(folder)) is not None:
            return found
        time.sleep(_PAUSE_SECONDS)
    return None


def _refusal(folder: Path, writer: Writer | None, doing: str) -> Locked:
    return Locked(
        f"the run `{folder}` is being {writer or 'written by another process'}",
        "Two processes writing to the same run would damage it.",
        _INSTEAD[doing].format(run=quoted(str(folder))),
    )


def _other_host(folder: Path, writer: Writer) -> Locked:
    remove = f"rm {quoted(str(folder / RECORD))}"
    return Locked(
        f"the run `{folder}` is being {writer}",
        "That is another machine, so this one cannot see whether its process still runs.",
        f"If it has ended, or was killed there, remove its record, then run this command again: `{remove}`",
    )


def _recorded(folder: Path) -> Writer | None:
    """The record of a folder, of a living process or not; None if there is none, or it is not one of ours."""
    try:
        found = Writer(**parse_json((folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return found if found.is_plausible else None


def _boot() -> str:
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""
