"""The file operations of a process, seen through Python's audit hooks: to end it at one, or to see each.

What changes folders is an operation: a file opened for writing, a folder made, a rename, a removal. Python reports each
before it happens. What libraries write in other languages is not reported; it happens between two operations.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NAMED = {"os.mkdir": 2, "os.remove": 1, "os.rmdir": 1, "os.link": 3, "os.symlink": 2, "os.truncate": None}
"""Audit events, and which of their arguments is the descriptor of the folder that the path is relative to."""

Look = Callable[[int, str], None]
"""Called with the number of an operation, counted from 1, and its name with the path, before it happens."""


def watch(folders: tuple[Path, ...], look: Look) -> None:
    """Calls `look` before each file operation of this process in some folders, from now to the end of the process."""
    roots = tuple(os.path.realpath(folder) + os.sep for folder in folders)
    state = {"number": 0, "is_looking": False}

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if state["is_looking"] or (path := changed(event, arguments)) is None:
            return
        state["is_looking"] = True
        try:
            if f"{Path(path).absolute()}{os.sep}".startswith(roots):
                state["number"] += 1
                look(state["number"], f"{event} {path}")
        finally:
            state["is_looking"] = False

    sys.addaudithook(hook)


def changed(event: str, arguments: tuple[Any, ...]) -> str | None:
    """The path that an operation changes; None for one that changes nothing, or has no path."""
    if event == "open":
        path, _, flags = arguments
        return _text(path) if isinstance(flags, int) and flags & _WRITING else None
    if event == "os.rename":
        source, target, _, there = arguments
        return _below(target, there)
    if event in _NAMED:
        place = _NAMED[event]
        return _below(
            arguments[1 if event in ("os.link", "os.symlink") else 0], -1 if place is None else arguments[place]
        )
    return None


def _below(path: Any, folder: int) -> str | None:
    name = _text(path)
    if name is None or Path(name).is_absolute() or folder < 0:
        return name
    return str(Path(f"/proc/self/fd/{folder}").readlink() / name)


def _text(path: Any) -> str | None:
    return os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else None


def kill_at(folders: tuple[Path, ...], number: int) -> None:
    """Ends this process by SIGKILL right before an operation."""

    def look(now: int, name: str) -> None:
        if now == number:
            os.kill(os.getpid(), signal.SIGKILL)

    watch(folders, look)


def list_to(folders: tuple[Path, ...], target: Path) -> None:
    """Writes the name of each operation as a line into a file, which lies elsewhere."""
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    watch(folders, lambda _, name: None if os.write(descriptor, f"{name}\n".encode()) else None)


def keep_prefixes(folder: Path, target: Path) -> None:
    """Copies a folder before each operation in it, as a power cut at that moment may leave it.

    Names are there, but of each file only what was flushed to the disk by `fsync`.

    Args:
        folder: that is watched.
        target: receives `0001`, `0002` and so on; lies elsewhere.
    """
    flushed: dict[tuple[int, int], int] = {}
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        status = os.fstat(descriptor)
        flushed[status.st_dev, status.st_ino] = status.st_size

    def look(number: int, name: str) -> None:
        copy = target / f"{number:04d}"
        shutil.copytree(folder, copy, symlinks=True) if folder.exists() else copy.mkdir()
        for path in folder.rglob("*"):
            if path.is_file() and (copy / path.relative_to(folder)).exists():
                status = path.stat()
                os.truncate(copy / path.relative_to(folder), flushed.get((status.st_dev, status.st_ino), 0))
        (target / f"{number:04d}.txt").write_text(name, encoding="utf-8")

    os.fsync = noted  # the process is one of a test, and reports no such operation by itself
    watch((folder,), look)
