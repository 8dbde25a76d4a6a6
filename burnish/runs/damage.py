"""Files of a run folder that cannot be read, or may not be: named with the reason, so that others are not affected."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from burnish.errors import InputError
from burnish.system.machine import is_special
from burnish.system.shell import quoted
from burnish.visible import parse_json


class DamagedRun(InputError):
    """A file of a run folder is not what Burnish wrote."""


def damaged(path: Path, reason: str, fix: str = "") -> DamagedRun:
    """The error for a damaged file in a run folder.

    Args:
        path: of the file, which is directly in the run folder.
        reason: without a full stop.
        fix: what to do; by default, to restore the file or to remove the run.
    """
    run = path.parent
    return DamagedRun(
        f"the run `{run.name}` is damaged: `{path.name}` cannot be read",
        f"`{path}`: {reason}.",
        fix or f"Restore the file from a copy, or remove the run: `rm -r {quoted(str(run))}`",
    )


def read_json_object(path: Path, fix: str = "") -> dict[str, Any]:
    """The JSON object in a file of a run folder.

    Args:
        path: of the file.
        fix: what to do if it is damaged, see `damaged`.

    Raises:
        DamagedRun: it is unreadable, is not JSON, or holds something other than an object.
    """
    try:
        found = parse_json(path.read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, why_unreadable(error), fix) from error
    if not isinstance(found, dict):
        raise damaged(path, "it is not a JSON object", fix)
    return found


def why_unreadable(error: Exception) -> str:
    """The reason of a failed read, as one line."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start + 1:,} is not UTF-8"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__


def check_plain(folder: Path) -> None:
    """Refuses a run folder that holds anything but files and folders.

    A link could have what a command appends to a log end up in any other file, and reading a pipe never ends.

    Raises:
        InputError: there is a link, a device, a pipe or a socket.
    """
    for entry in _entries(folder):
        if entry.is_symlink() or is_special(Path(entry.path)):
            kind = "a link" if entry.is_symlink() else "neither a file nor a folder"
            raise InputError(
                f"`{entry.path}` is {kind}",
                "Burnish makes none, and through one a run folder from someone else could reach other files.",
                "Put the file itself there, or remove it",
            )


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Everything below a folder; links are not followed."""
    try:
        found = list(os.scandir(folder))
    except FileNotFoundError:  # removed or renamed meanwhile, by the process that trains the run
        return
    except OSError as error:
        raise InputError(f"`{folder}` cannot be opened", f"{error.strerror}.", "Check its permissions") from error
    for entry in found:
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _entries(Path(entry.path))
