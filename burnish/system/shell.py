"""Words of commands that a user is to type."""

from __future__ import annotations

import shlex
import subprocess
import sys


def quoted(word: str) -> str:
    """A word as the shell of this system takes it: in quotes only where it needs them."""
    return subprocess.list2cmdline([word]) if sys.platform == "win32" else shlex.quote(word)


def quoted_bytes(name: bytes) -> str:
    """A file name that is not UTF-8 as bash and zsh take it: each byte that is not ASCII as its number."""
    plain = name.decode("latin-1").replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + "".join(one if " " <= one <= "~" else f"\\x{ord(one):02x}" for one in plain) + "'"
