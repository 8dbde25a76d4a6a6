"""How large the values of parquet and Arrow files become; files that were made to fill the memory are refused.

Equal values may be stored once, in a dictionary, and values that begin alike by their ends: a few kilobytes then become
gigabytes when they are read, whatever the size of the file's blocks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy

from burnish.data.files.opening import MOST_TIMES, SMALL_BYTES
from burnish.errors import DataError

BATCH_ROWS = 1024
_MEASURED_ROWS = 8 * BATCH_ROWS
_BATCH_BYTES = 64 << 20
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8}
"""Bytes of a value in memory, by its type in a parquet file; of others it is 4, for where it begins."""


class Unfolded:
    """Counts the bytes of the batches that are read from a file.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes = 0

    def add(self, batch: Any) -> None:
        """Counts a batch.

        Args:
            batch: `pyarrow.RecordBatch` or `Table`.

        Raises:
            DataError: all batches together are far larger than data can be compressed.
        """
        self.add_bytes(sum(unfolded_bytes(part) for column in batch.columns for part in _chunks(column)))

    def add_bytes(self, number: int) -> None:
        """Counts so many bytes. Raises DataError as `add` does."""
        self._bytes += number
        packed = self._path.stat().st_size
        if self._bytes > max(SMALL_BYTES, MOST_TIMES * packed):
            raise DataError(
                f"`{self._path}` would unpack to more than {self._bytes / 1e9:,.1f} GB, from {packed / 1e6:,.1f} MB",
                f"That is more than {MOST_TIMES} times its size, far more than data can be compressed.",
                "If you trust it, write it again without compression and without dictionaries",
            )


def check_bounds(batch: Any) -> None:
    """Checks that nothing in a batch points outside of it: reading that would end the process.

    Values out of their range, such as dates, are not checked.

    Args:
        batch: `pyarrow.RecordBatch`.

    Raises:
        pyarrow.ArrowInvalid: something does.
    """
    batch.validate()
    for column in batch.columns:
        _check_bounds(column)


def _check_bounds(array: Any) -> None:
    import pyarrow
    from pyarrow import types

    kind = array.type
    if types.is_struct(kind):
        for number in range(kind.num_fields):
            _check_bounds(array.field(number))
    elif types.is_list(kind) or types.is_large_list(kind):
        offsets = array.offsets.to_numpy()
        limits = numpy.concatenate([[0], offsets, [len(array.values)]])
        if (limits[1:] < limits[:-1]).any():  # and not their difference, which may be out of range
            raise pyarrow.ArrowInvalid("a list points outside of its values")
        _check_bounds(array.values)
    elif not types.is_temporal(kind):
        array.validate(full=True)


def _chunks(column: Any) -> list[Any]:
    return column.chunks if hasattr(column, "chunks") else [column]


def unfolded_bytes(array: Any) -> int:
    """Size of the values of an Arrow array, each counted as often as it occurs.

    Args:
        array: `pyarrow.Array` of any type.
    """
    from pyarrow import types

    kind = array.type
    if types.is_dictionary(kind):
        return _size_of_chosen(array.dictionary, array.indices)
    if types.is_run_end_encoded(kind):
        return len(array) * unfolded_bytes(array.values) // max(1, len(array.values))
    if types.is_string_view(kind) or types.is_binary_view(kind):
        return _size_of_views(array)
    if types.is_struct(kind):
        return sum(map(unfolded_bytes, array.flatten()))
    if types.is_map(kind):
        return unfolded_bytes(array.keys) + unfolded_bytes(array.items)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return unfolded_bytes(array.flatten())
    return unfolded_bytes(array.storage) if hasattr(array, "storage") else array.nbytes


def _size_of_chosen(values: Any, indices: Any) -> int:
    """Size of the values of a dictionary, chosen by index."""
    import pyarrow.compute
    from pyarrow import types

    kind = values.type
    is_text = types.is_string(kind) or types.is_large_string(kind)
    if is_text or types.is_binary(kind) or types.is_large_binary(kind):
        return _total(pyarrow.compute.call_function("binary_length", [values]).cast("int64").take(indices))
    return len(indices) * unfolded_bytes(values) // max(1, len(values))


def _size_of_views(array: Any) -> int:
    """Size of texts that may share their bytes; each is described by 16 bytes, the first four of which are its size."""
    views = numpy.frombuffer(array.buffers()[1], "<i4")[4 * array.offset :: 4][: len(array)]
    return int(views[array.is_valid().to_numpy(zero_copy_only=False)].sum(dtype=numpy.int64))


def _total(lengths: Any) -> int:
    import pyarrow.compute

    return pyarrow.compute.call_function("sum", [lengths.cast("int64")]).as_py() or 0


def check_parquet(path: Path, source: Any) -> int:
    """Checks that a parquet file does not unpack to far more than data can be compressed.

    Args:
        path: of the file.
        source: the open file.

    Returns:
        How many rows can be read at once in bounded memory.

    Raises:
        DataError: it does.
    """
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(source)
    groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    Unfolded(path).add_bytes(sum(max(one.total_uncompressed_size, _least(one)) for one in chunks))
    columns = sorted({one.path_in_schema for one in chunks if _has_dictionary(one)})
    if columns:
        folded, unfolded = pyarrow.parquet.ParquetFile(source, read_dictionary=columns), Unfolded(path)
        for batch in folded.iter_batches(batch_size=_MEASURED_ROWS, columns=columns):
            unfolded.add(batch)
    # of these, any value may be as long as its block
    longest = max((one.total_uncompressed_size for one in chunks if "DELTA_BYTE_ARRAY" in one.encodings), default=1)
    return max(1, min(BATCH_ROWS, _BATCH_BYTES // max(1, longest)))


def _least(chunk: Any) -> int:
    """Bytes that the values of a column chunk take at least."""
    return chunk.num_values * _WIDTHS.get(chunk.physical_type, 4)


def _has_dictionary(chunk: Any) -> bool:
    return chunk.physical_type == "BYTE_ARRAY" and any("DICTIONARY" in encoding for encoding in chunk.encodings)


def check_arrow(path: Path, source: Any) -> None:
    """Checks that the compressed batches of an Arrow file do not unpack to far more than data can be compressed.

    A batch is unpacked as a whole, and pyarrow does not say to how much; the sizes are read from the file's messages.

    Args:
        path: of the file.
        source: the open file, at its beginning, where it is left again.

    Raises:
        DataError: they do.
    """
    import pyarrow.ipc

    unfolded = Unfolded(path)
    source.seek(_MAGIC_BYTES if source.read(len(_MAGIC)) == _MAGIC else 0)
    reader = pyarrow.ipc.MessageReader.open_stream(source)
    try:
        for message in reader:
            unfolded.add_bytes(sum(_unpacked_sizes(message)))
    except (pyarrow.ArrowException, MemoryError, struct.error, IndexError):
        pass  # damaged: the reader of the batches says how
    source.seek(0)


_MAGIC, _MAGIC_BYTES = b"ARROW1", 8
"""What a file begins with that is not a stream, and where its first message is."""


def _unpacked_sizes(message: Any) -> Iterator[int]:
    """The sizes of the compressed buffers of a message once they are unpacked: each begins with its own.

    Args:
        message: `pyarrow.ipc.Message`. By Arrow's `Message.fbs`, the fields of a batch are its length, nodes, buffers
            and compression, and the batch of a dictionary is its second field.
    """
    if message.type not in ("record batch", "dictionary"):
        return
    fields, body = memoryview(message.metadata), memoryview(message.body)
    batch = _Table(fields, _target(fields, 0)).table(2)
    batch = batch.table(1) if message.type == "dictionary" else batch
    if not batch.place(3):
        return
    buffers = _target(fields, batch.place(2))
    for number in range(struct.unpack_from("<I", fields, buffers)[0]):
        begin, length = struct.unpack_from("<qq", fields, buffers + 4 + 16 * number)
        if length >= 8:
            yield max(0, struct.unpack_from("<q", body, begin)[0])  # -1 for one that is not compressed


def _target(content: memoryview, place: int) -> int:
    """Where an offset leads to."""
    return place + struct.unpack_from("<I", content, place)[0]


class _Table:
    """A table of FlatBuffers, whose fields have places that are listed elsewhere.

    Args:
        content: that holds it.
        at: where it is.
    """

    def __init__(self, content: memoryview, at: int) -> None:
        self._content, self._at = content, at
        self._list = at - struct.unpack_from("<i", content, at)[0]
        self._size = struct.unpack_from("<H", content, self._list)[0]

    def place(self, field: int) -> int:
        """Where a field is; 0 if it has its default."""
        entry = 4 + 2 * field
        offset = struct.unpack_from("<H", self._content, self._list + entry)[0] if entry < self._size else 0
        return self._at + offset if offset else 0

    def table(self, field: int) -> _Table:
        """The table in a field."""
        return _Table(self._content, _target(self._content, self.place(field)))
