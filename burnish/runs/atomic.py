"""Atomic writes: a temporary sibling, fsync, rename.

A full disk is reported as such and never damages what was written before.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

from burnish.errors import InputError, MachineError
from burnish.system.shell import quoted
from burnish.visible import json_text

TEMPORARY_PREFIX = ".writing-"
_DAY_SECONDS = 86_400
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_IN_WORDS = re.compile(r"\(os error (\d+)\)")
"""How safetensors and tokenizers, which do not raise `OSError`, report the error number."""


def temporary_sibling(path: Path) -> Path:
    """A new name in the same folder, so that the final rename stays on one file system and is atomic."""
    return path.parent / f"{TEMPORARY_PREFIX}{path.name}-{uuid.uuid4().hex[:8]}"


class DiskError(MachineError):
    """The disk is full, read-only or over its quota."""


def disk_error(path: Path, reason: object) -> DiskError:
    """The error for a write that the disk refused."""
    return DiskError(
        f"cannot write `{path}`",
        f"The operating system reports: {reason}. Everything saved before is untouched.",
        "Free some space on that disk, then give the command again",
    )


def check_target(path: Path, may_replace: bool = False) -> None:
    """Refuses a place for a file or folder that a user named, before the work for it begins.

    What killed processes left of it goes first, since a place that is refused is not written to.

    Args:
        path: that will be written.
        may_replace: whether a file that is there may be written over; a folder never is.

    Raises:
        InputError: something is in the way, or the folder that would hold it does not exist.
    """
    with suppress(OSError):
        remove_abandoned(path.parent, path.name)
    if path.is_dir() or (path.exists() and not may_replace):
        kind = "is a folder" if may_replace else "already exists"
        raise InputError(f"`{path}` {kind}", "Nothing is overwritten.", "Remove it, or choose another path")
    if not path.absolute().parent.is_dir():
        raise InputError(
            f"the folder `{path.parent}` does not exist",
            f"`{path}` would be written into it.",
            f"Create it with `mkdir -p {quoted(str(path.parent))}`, or choose another path",
        )


@contextmanager
def as_disk_error(path: Path) -> Iterator[None]:
    """Turns a full, read-only or over-quota disk into a `DiskError`."""
    try:
        yield
    except Exception as error:
        if number := disk_number(error):
            raise disk_error(path, os.strerror(number)) from error
        raise


def disk_number(error: BaseException) -> int | None:
    """The number of an error that means a full, read-only or over-quota disk; None for any other error."""
    found = _IN_WORDS.search(str(error))
    number = error.errno if isinstance(error, OSError) else int(found[1]) if found else None
    return number if number in _DISK_ERRORS else None


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` to `path` atomically.

    Raises:
        MachineError: the disk is full, read-only or over its quota.
        InputError: there is a folder in its place.
    """
    if path.is_dir():
        check_target(path, may_replace=True)
    remove_abandoned(path.parent, path.name)
    temporary = temporary_sibling(path)
    with as_disk_error(path):
        try:
            with temporary.open("wb") as file, _claimed(temporary):
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _moved(temporary, path)
            flush(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """Writes UTF-8 text to `path` atomically."""
    write_bytes(path, content.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON, atomically; numbers that are not finite are null."""
    write_text(path, json_text(value, indent=2) + "\n")


def write_json_lines(path: Path, values: list[dict[str, Any]]) -> None:
    """Writes one JSON object per line, atomically."""
    write_bytes(path, json_lines(values))


def json_lines(values: list[dict[str, Any]]) -> bytes:
    """One JSON object per line, in UTF-8; numbers that are not finite are null."""
    return "".join(json_text(value) + "\n" for value in values).encode("utf-8")


@contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """Yields an empty temporary folder to fill; on success it replaces `path`, on failure it is removed.

    Raises:
        MachineError: the disk is full, read-only or over its quota.
    """
    remove_abandoned(path.parent, path.name)
    with as_disk_error(path), temporary_folder(path) as temporary:
        yield temporary
        files = [temporary, *temporary.rglob("*")]
        for file in files:
            _open_as_usual(file, temporary)
        _flush_all(files)
        _replace_folder(temporary, path)
        flush(path.parent)


def _open_as_usual(file: Path, folder: Path) -> None:
    """Lets those read a file that may read new files here: safetensors writes files that their owner alone can read.

    Args:
        file: in the folder, or the folder itself.
        folder: whose mode is what the umask leaves of new ones.
    """
    if sys.platform != "win32" and file.is_file() and not file.is_symlink():
        file.chmod(stat.S_IMODE(file.stat().st_mode) | (stat.S_IMODE(folder.stat().st_mode) & _READ_AND_WRITE))


_READ_AND_WRITE = 0o666


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder beside `path`, which is removed at the end; if the process is killed, by a later one."""
    temporary = temporary_sibling(path)
    temporary.mkdir(parents=True)
    try:
        with _claimed(temporary):
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(temporary: Path, path: Path) -> None:
    """Renames `temporary` to `path`; a folder already there is moved aside first and removed afterwards."""
    if not path.exists():
        _moved(temporary, path)
        return
    old = temporary_sibling(path)
    _moved(path, old)
    _moved(temporary, path)
    shutil.rmtree(old, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Removes a folder so that it is there whole or not at all, whenever the process is killed."""
    old = temporary_sibling(path)
    _moved(path, old)
    shutil.rmtree(old, ignore_errors=True)


_RENAMES, _PAUSE_SECONDS = 20, 0.05


def _moved(source: Path, target: Path) -> None:
    """Renames a file or folder. Windows refuses while any program has it open, as virus scanners do for a moment.

    Raises:
        MachineError: it has been open for a second.
    """
    for _ in range(_RENAMES if sys.platform == "win32" else 0):
        try:
            source.replace(target)
            return
        except PermissionError:
            time.sleep(_PAUSE_SECONDS)
    try:
        source.replace(target)
    except PermissionError as error:
        if sys.platform != "win32":
            raise
        raise MachineError(
            f"cannot write `{target}`: it is open in another program",
            "Windows does not let open files be replaced. Everything saved before is untouched.",
            "Close what has it open, then run the command again, or continue with `burnish resume`",
        ) from error


def flush(path: Path) -> None:
    """Flushes a file to disk, or a folder where the system can: Windows flushes neither folders nor files that are open
    for reading only."""
    if path.is_dir():
        if sys.platform != "win32":
            _flush_opened(path, os.O_RDONLY)
    else:
        _flush_opened(path, os.O_RDWR)


_FLUSHED_TOGETHER = 16
"""Files that are waited for at once, since the disk then writes them together; so many are flushed one by one."""


def _flush_all(paths: Sequence[Path]) -> None:
    """Flushes files and folders, in any order if there are many."""
    if len(paths) <= _FLUSHED_TOGETHER:
        for path in paths:
            flush(path)
        return
    with ThreadPoolExecutor(_FLUSHED_TOGETHER) as threads:
        for _ in threads.map(flush, paths):
            pass


def _flush_opened(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot sync folders
            raise
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Removes what interrupted writes left behind in a folder that this process has locked."""
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        _remove(path)


def remove_abandoned(folder: Path, name: str = "") -> None:
    """Removes what killed processes left behind in a folder that others may be writing into.

    Args:
        folder: it need not exist.
        name: of the file or folder that they were writing; by default, any.
    """
    for path in folder.glob(f"{TEMPORARY_PREFIX}{escape(name)}{'-*' if name else '*'}"):
        with _claimed(path) as is_abandoned:
            if is_abandoned:
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _claimed(temporary: Path) -> Iterator[bool]:
    """While entered, no other process takes a temporary file or folder for an abandoned one.

    Yields whether no other process has claimed it. Windows has no such locks on folders: there, what is a day old
    counts as abandoned.
    """
    if sys.platform == "win32":
        yield time.time() - temporary.stat().st_mtime > _DAY_SECONDS
        return
    import fcntl

    try:
        descriptor = os.open(temporary, os.O_RDONLY)
    except OSError:  # it is gone
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_claimed = True
    except OSError:  # another process has it, or the file system has no locks
        is_claimed = False
    try:
        yield is_claimed
    finally:
        os.close(descriptor)
