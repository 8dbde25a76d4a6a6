"""A file of lines that is written part by part, and continued where it was interrupted.

    NAME.part        whole parts; after a kill, perhaps the beginning of the next one
    NAME.part.json   what is being written, and how many lines are in a part

The file gets its name when it is complete.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from burnish.errors import InputError
from burnish.runs.atomic import as_disk_error, check_target, flush, json_lines, write_json
from burnish.system.shell import quoted
from burnish.visible import parse_json


class PartialLines:
    """JSON lines that are written in parts of a fixed number of lines.

    Args:
        path: of the finished file.
        origin: JSON-ready values that determine every line; another origin is not continued.
        lines: in a part; the last one may have fewer.
    """

    def __init__(self, path: Path, origin: dict[str, Any], lines: int) -> None:
        self._path, self._lines = path, lines
        self._origin = json.loads(json.dumps({**origin, "lines": lines}))
        self._part, self._about = part_of(path)
        self.done = 0
        """Whole parts that are written."""
        self._file: BinaryIO | None = None

    @contextlib.contextmanager
    def opened(self) -> Iterator[PartialLines]:
        """Begins the file, or continues it behind its last whole part.

        Raises:
            InputError: the file exists, or another command writes it, or what is there has another origin.
            MachineError: the disk is full, read-only or over its quota.
        """
        from filelock import FileLock, Timeout

        check_target(self._path)
        lock = FileLock(f"{self._part}.lock", blocking=False)
        try:
            with as_disk_error(self._part):
                lock.acquire()
        except Timeout:
            raise InputError(
                f"another command is writing `{self._path}`",
                "Two that write one file would damage it.",
                "Wait until it has ended, or name another file",
            ) from None
        try:
            with as_disk_error(self._part):
                size = self._size_of_whole_parts()
                if not size:
                    write_json(self._about, self._origin)
                with self._part.open("r+b" if size else "wb") as self._file:
                    self._file.truncate(size)
                    self._file.seek(size)
                    yield self
        finally:
            Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    def add(self, lines: Sequence[dict[str, Any]]) -> None:
        """Writes one part, which is on the disk when this returns."""
        assert self._file is not None, "opened() was not entered"
        self._file.write(json_lines(list(lines)))
        self._file.flush()
        os.fsync(self._file.fileno())
        self.done += 1

    def finish(self) -> None:
        """Gives the file its name."""
        assert self._file is not None, "opened() was not entered"
        self._file.close()
        check_target(self._path)
        self._part.rename(self._path)
        flush(self._path.parent)
        self._about.unlink()

    def _size_of_whole_parts(self) -> int:
        """Bytes to keep of what is there; counts its parts. Raises InputError if its origin is another."""
        if not self._part.exists():
            return 0
        found = self._begun_with()
        if found != self._origin:
            differs = ", ".join(f"`{name}`" for name, value in self._origin.items() if found.get(name) != value)
            raise InputError(
                f"`{self._part}` was begun by another command",
                f"It differs in {differs}." if found else "What it was begun with is not known.",
                f"Give that command again, or start over: `rm {quoted(str(self._part))} {quoted(str(self._about))}`",
            )
        size = read = lines = 0
        with self._part.open("rb") as file:
            for line in file:
                read += len(line)
                lines += line.endswith(b"\n")
                if line.endswith(b"\n") and lines % self._lines == 0:
                    size, self.done = read, lines // self._lines
        return size

    def _begun_with(self) -> dict[str, Any]:
        """The origin of what is there; empty if it cannot be read."""
        try:
            found = parse_json(self._about.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def part_of(path: Path) -> tuple[Path, Path]:
    """Where an unfinished file is, and what it was begun with."""
    part = path.with_name(f"{path.name}.part")
    return part, path.with_name(f"{part.name}.json")
