"""Wording as snapshots: what users read is compared with a file under `tests/snapshots/`, never with a literal.

    make snapshots                                   rewrites all of them
    BURNISH_SNAPSHOTS=write pytest tests/unit/data   rewrites those of some tests

A snapshot file holds one entry per message. Review the diff of the files like code: it is the change that users see.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from burnish.errors import BurnishError

FOLDER = Path(__file__).parent / "snapshots"
WRITE = "BURNISH_SNAPSHOTS"
"""Environment variable; with the value `write`, snapshots are written instead of compared."""
_HEADING = re.compile(r"^## (.*)$", re.MULTILINE)
_calls: Counter[str] = Counter()


def check_snapshot(name: str, text: str) -> None:
    """Compares a text with its snapshot.

    Args:
        name: `area/file::entry`, for example `unit/runs/test_store::a name that is taken`.
        text: with paths, times and values of this machine masked.

    Raises:
        AssertionError: the text differs, or there is no such snapshot.
    """
    file, _, entry = name.partition("::")
    path, entry = FOLDER / f"{file}.txt", " ".join(entry.split())
    found = "\n".join(line.rstrip() for line in text.strip("\n").splitlines())
    if os.environ.get(WRITE) == "write":
        _write(path, entry, found)
        return
    entries = read_snapshots(path)
    assert entry in entries, f"there is no snapshot `{entry}` in {path}; write it with `make snapshots`\n{found}"
    assert found == entries[entry], f"{path} has another text; if the change is meant: `make snapshots`"


def check_message(error: BaseException, masks: Mapping[Path | str, str] | None = None) -> None:
    """Compares the text of an error with its snapshot, which is named after the running test.

    Args:
        error: of Burnish, with its three parts, or any other.
        masks: what to replace, for example `{tmp_path: "FOLDER"}`.
    """
    text = error_text(error)
    for found, mask in (masks or {}).items():
        text = text.replace(str(found), mask)
    check_text(text)


def check_text(text: str) -> None:
    """Compares a text with its snapshot, which is named after the running test."""
    test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" (")[0]
    _calls[test] += 1
    file, _, entry = test.partition("::")
    number = f" #{_calls[test]}" if _calls[test] > 1 else ""
    check_snapshot(f"{file.removeprefix('tests/').removesuffix('.py')}::{entry}{number}", text)


def error_text(error: BaseException) -> str:
    """The message as a user sees it: its three parts on lines of their own, or the text of another error."""
    if not isinstance(error, BurnishError):
        return str(error)
    parts = (("error", error.what), ("why", error.why), ("hint", error.fix))
    return "\n".join(f"{label}: {part}" for label, part in parts if part)


def read_snapshots(path: Path) -> dict[str, str]:
    """The entries of a snapshot file by name; empty if there is no such file."""
    if not path.is_file():
        return {}
    _, *parts = _HEADING.split(path.read_text(encoding="utf-8"))
    return {name: _indented(text, -4) for name, text in zip(parts[::2], parts[1::2], strict=True)}


def _write(path: Path, entry: str, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # several workers may write into one file
        entries = read_snapshots(path) | {entry: text}
        content = "\n\n".join(f"## {name}\n{_indented(entries[name], 4)}" for name in sorted(entries))
        path.write_text(content + "\n", encoding="utf-8")
    path.with_suffix(".lock").unlink(missing_ok=True)


def _indented(text: str, by: int) -> str:
    """Indented lines cannot be taken for headings."""
    lines = text.strip("\n").splitlines()
    return "\n".join((f"{' ' * by}{line}" if by > 0 else line[-by:]).rstrip() for line in lines)
