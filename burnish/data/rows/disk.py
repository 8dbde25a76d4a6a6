"""Rows, records and tokens of data that is too large for memory: in files without a name, of which a block is read when
it is asked for.

Where they are kept changes nothing else: `Gathering` and `TokenColumns` hold the same items in the same order, so
split, tokens and batches are those of data in memory, and so is a run that is resumed.
"""

from __future__ import annotations

import tempfile
import threading
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, overload

from burnish.errors import MachineError
from burnish.runs.atomic import as_disk_error


@dataclass(frozen=True, slots=True)
class Disk:
    """Where rows, records and tokens are kept."""

    folder: Path
    why: str
    """Why they are not kept in memory, as a phrase."""

    def open(self) -> IO[bytes]:
        """A new file for reading and writing that has no name: it is gone as soon as it is closed, or the process ends.

        Raises:
            MachineError: it cannot be made there.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return tempfile.TemporaryFile(dir=self.folder)
        except OSError as error:
            raise MachineError(
                f"`{self.folder}` cannot hold rows: {error.strerror}",
                "What does not fit into memory is kept there.",
                "Name another folder with the environment variable `BURNISH_CACHE`",
            ) from error


class DiskBlocks(Sequence[Any]):
    """Blocks of bytes in a file, read again when they are asked for. Others stay the objects that they are.

    Args:
        disk: where the file is.
    """

    def __init__(self, disk: Disk) -> None:
        self._file, self._folder = disk.open(), disk.folder
        self._lock = threading.Lock()
        self._ends = array("q", [0])
        self._objects: dict[int, Any] = {}

    def append(self, block: Any) -> None:
        """Adds a block at the end."""
        if isinstance(block, bytes):
            with self._lock, as_disk_error(self._folder):
                self._file.seek(self._ends[-1])
                self._file.write(block)
            self._ends.append(self._ends[-1] + len(block))
        else:
            self._objects[len(self)] = block
            self._ends.append(self._ends[-1])

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = range(len(self))[index]
        if number in self._objects:
            return self._objects[number]
        begin, end = self._ends[number], self._ends[number + 1]
        with self._lock, as_disk_error(self._folder):
            self._file.seek(begin)
            return self._file.read(end - begin)
