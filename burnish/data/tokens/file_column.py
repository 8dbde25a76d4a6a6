"""Arrays that are read from a file part by part, and written into one, for tokens that memory cannot hold."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy

PART = 1 << 20
"""Elements that are read or written at once."""
_DTYPES = {"BOOL": numpy.bool_, "I32": numpy.int32, "I64": numpy.int64}
"""The types of safetensors that columns have."""
_NAMES = {numpy.dtype(dtype): name for name, dtype in _DTYPES.items()}


class FileColumn:
    """A `[elements]` array in a file, of which slices are read when they are asked for.

    It is not mapped into memory: what has been read once would otherwise count as memory of this process.

    Args:
        file: open for reading; it stays open as long as the column exists.
        dtype: of the elements.
        begin: position of the first element, in bytes.
        length: number of elements.
    """

    def __init__(self, file: IO[bytes], dtype: Any, begin: int, length: int) -> None:
        self.dtype: numpy.dtype[Any] = numpy.dtype(dtype)
        self._file, self._begin, self._length = file, begin, length
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, part: slice) -> numpy.ndarray:
        begin, end, _ = part.indices(self._length)
        size = self.dtype.itemsize
        with self._lock:
            self._file.seek(self._begin + begin * size)
            found = self._file.read(max(0, end - begin) * size)
        return numpy.frombuffer(found, self.dtype)


Column = numpy.ndarray | FileColumn


def parts_of(column: Column) -> Iterator[tuple[int, numpy.ndarray]]:
    """The column in parts, each with the number of its first element."""
    for begin in range(0, len(column), PART):
        yield begin, column[begin : begin + PART]


def write_columns(path: Path, columns: Mapping[str, Column], metadata: Mapping[str, str]) -> None:
    """Writes columns as a safetensors file, part by part.

    Args:
        path: of the new file.
        columns: by name.
        metadata: of the file.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name in sorted(columns, key=lambda name: -columns[name].dtype.itemsize):  # so that all are aligned
        begin, column = end, columns[name]
        end += len(column) * column.dtype.itemsize
        header[name] = {"dtype": _NAMES[column.dtype], "shape": [len(column)], "data_offsets": [begin, end]}
    described = json.dumps(header).encode("utf-8")
    described += b" " * (-len(described) % 8)
    with path.open("wb") as file:
        file.write(len(described).to_bytes(8, "little") + described)
        for name in (name for name in header if name in columns):
            for _, part in parts_of(columns[name]):
                file.write(numpy.ascontiguousarray(part).tobytes())


def file_columns(path: Path, names: tuple[str, ...]) -> dict[str, FileColumn]:
    """Columns of a safetensors file, to be read part by part.

    Args:
        path: of the file, which safetensors has accepted.
        names: of the columns.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    found = {}
    for name in names:
        begin, end = header[name]["data_offsets"]
        dtype = numpy.dtype(_DTYPES[header[name]["dtype"]])
        # a file for each, so that they do not wait for each other
        found[name] = FileColumn(path.open("rb"), dtype, 8 + length + begin, (end - begin) // dtype.itemsize)
    return found
