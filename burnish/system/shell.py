"""Words of commands that a user is to type."""

from __future__ import annotations

import shlex
import subprocess
import sys


def quoted(word: str) -> str:
    """A word as the shell of this system takes it: in quotes only where it needs them."""
    return subprocess.list2cmdline([word]) if sys.platform == "win32" else shlex.quote(word)
