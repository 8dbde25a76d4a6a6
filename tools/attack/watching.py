"""What a process does that no stranger's file may make it do, seen through Python's audit hooks."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from types import CodeType
from typing import Any

from tools.attack.operations import changed

_STARTED = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "webbrowser.open")
_HARMLESS = ("uname",)
"""What Python's own `platform` starts."""
_CONNECTED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")


def report(theirs: tuple[Path, ...], kept: Path, allowed: tuple[Path, ...], target: Path) -> None:
    """Writes a line into a file for each thing that must not happen, from now to the end of the process.

    Args:
        theirs: folders of strangers, from which nothing may be run, imported or linked.
        kept: a folder that has to stay as it is.
        allowed: folders that may be written into; that for temporary files is another.
        target: of the lines.
    """
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    strangers = tuple(os.path.realpath(folder) + os.sep for folder in theirs)
    places = (*allowed, Path(tempfile.gettempdir()), Path("/dev"), Path("/proc/self"))
    writable = tuple(os.path.realpath(folder) + os.sep for folder in places)
    closed = os.path.realpath(kept) + os.sep
    state = {"is_busy": False}

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if state["is_busy"]:
            return
        state["is_busy"] = True
        try:
            if (line := _what(event, arguments, strangers, closed, writable)) is not None:
                os.write(descriptor, f"{line}\n".encode("utf-8", "replace"))
        finally:
            state["is_busy"] = False

    sys.addaudithook(hook)


def _what(
    event: str, arguments: tuple[Any, ...], strangers: tuple[str, ...], closed: str, writable: tuple[str, ...]
) -> str | None:
    """What is wrong with an event, in words; None if nothing is."""
    if event in _STARTED and arguments[0] not in _HARMLESS:
        return f"starts a program: {arguments[:2]}"
    if event in _CONNECTED and not str(arguments[-1]).startswith("/"):
        return f"connects: {arguments[1:]}"
    if event == "pickle.find_class":
        return f"unpickles {arguments}"
    if event == "exec" and isinstance(arguments[0], CodeType):
        return f"runs {arguments[0].co_filename}" if _is_in(arguments[0].co_filename, strangers) else None
    if event == "ctypes.dlopen":
        return f"links {arguments[0]}" if _is_in(arguments[0], strangers) else None
    path = changed(event, arguments)
    place = "" if path is None else os.path.realpath(path) + os.sep
    if path is None or (place.startswith(writable) and not place.startswith(closed)):
        return None
    return f"changes {path} ({event})"


def _is_in(name: str | None, folders: tuple[str, ...]) -> bool:
    """Whether a file is in some folders; code without a file is called `<string>` and the like."""
    return bool(name) and not str(name).startswith("<") and os.path.realpath(str(name)).startswith(folders)
