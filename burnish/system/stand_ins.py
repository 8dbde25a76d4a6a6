"""Files that only stand in for what they are named after: pointers of Git LFS, and pages of a website."""

from __future__ import annotations

import re
from pathlib import Path

from burnish.system.shell import quoted

_POINTER = b"version https://git-lfs.github.com/spec/"
_LONGEST_POINTER = 1024
"""In bytes, by the specification of Git LFS."""
_PAGE = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype\s+html|html)\b", re.IGNORECASE)


def is_pointer(path: Path) -> bool:
    """Whether a file is a pointer of Git LFS, which a clone has in place of a large file that was not downloaded."""
    return path.stat().st_size < _LONGEST_POINTER and _head(path).startswith(_POINTER)


def is_page(path: Path) -> bool:
    """Whether a file begins as a page of a website."""
    return _PAGE.match(_head(path)) is not None


def how_to_pull(path: Path) -> str:
    """What to type to get the file that a pointer represents, and those beside it."""
    return f"Download it: `git -C {quoted(str(path.parent))} lfs pull` (after `git lfs install`)"


POINTS = "It is a pointer of Git LFS, as a clone has it that was made without `git lfs`."


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LONGEST_POINTER)
