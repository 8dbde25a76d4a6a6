"""The folder of the jobs: what is in it, and that one process at a time has it open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from burnish.errors import InputError
from burnish.runs.atomic import remove_abandoned

if TYPE_CHECKING:
    from filelock import BaseFileLock

_PARTS = ("files", "jobs", "runs")


def open_folder(folder: Path) -> BaseFileLock:
    """Makes the folder of the jobs, if it does not exist, and takes it for this process.

    Returns:
        Its lock, which the system releases if the process is killed.

    Raises:
        InputError: another process has it, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(str(folder / ".lock"), blocking=False)
    try:
        for part in _PARTS:
            (folder / part).mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InputError(
            f"another process has the jobs in `{folder}`",
            "Two servers would start each job twice.",
            "Stop the other server, or give another folder",
        ) from None
    except OSError as error:
        raise InputError(
            f"cannot write into the folder `{folder}`", f"{error.strerror}.", "Choose another one"
        ) from error
    for part in _PARTS:
        remove_abandoned(folder / part)
    return lock
