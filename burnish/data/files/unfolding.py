"""How large the values of parquet and Arrow files become; files that were made to fill the memory are refused.

Equal values may be stored once, in a dictionary, and values that begin alike by their ends: a few kilobytes then become
gigabytes when they are read, whatever the size of the file's blocks.
"""

from __future__ import annotations

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
            DataError: all batches together are far larger than what data shrinks to.
        """
        self.add_bytes(sum(unfolded_bytes(part) for column in batch.columns for part in _chunks(column)))

    def add_bytes(self, number: int) -> None:
        """Counts so many bytes. Raises DataError as `add` does."""
        self._bytes += number
        packed = self._path.stat().st_size
        if self._bytes > max(SMALL_BYTES, MOST_TIMES * packed):
            raise DataError(
                f"`{self._path}` would unpack to more than {self._bytes / 1e9:,.1f} GB, from {packed / 1e6:,.1f} MB",
                f"That is more than {MOST_TIMES} times its size, far more than data shrinks to.",
                "If you trust it, write it again without compression and without dictionaries",
            )


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
    """Checks that a parquet file does not unpack to far more than data shrinks to.

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
