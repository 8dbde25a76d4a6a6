"""Reads parquet, Arrow and Feather files as rows, with the names of labels and without the nulls that Arrow adds."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from burnish.data.files.features import Features, converters, features_of_schema, named_columns
from burnish.data.files.opening import is_compressed, open_binary, without_compression
from burnish.data.files.unfolding import BATCH_ROWS, Unfolded, check_arrow, check_bounds, check_parquet
from burnish.data.rows.nulls import ADDED_NULLS, without_added_nulls
from burnish.data.rows.row import Rejected, Row, note_on, quoted
from burnish.errors import DataError


def read_parquet(path: Path) -> Iterator[Row | Rejected]:
    """Rows of a parquet file; `line` is the row's number."""
    import pyarrow.parquet

    with _open(path, "parquet") as source:
        at_once, unfolded = check_parquet(path, source), Unfolded(path)
        file = pyarrow.parquet.ParquetFile(source)
        rows = ArrowRows(file.schema_arrow, path.name)
        for batch in file.iter_batches(batch_size=at_once):
            unfolded.add(batch)
            yield from rows.read(batch, str(path))


def read_arrow(path: Path) -> Iterator[Row | Rejected]:
    """Rows of an Arrow file, as written by `datasets` or as Feather; `line` is the row's number."""
    with _open(path, "Arrow") as source:
        check_arrow(path, source)
        schema, batches = _batches(path, source)
        rows, unfolded = ArrowRows(schema, path.name), Unfolded(path)
        for batch in batches:
            check_bounds(batch)
            unfolded.add(batch)
            for begin in range(0, len(batch), BATCH_ROWS):
                yield from rows.read(batch.slice(begin, BATCH_ROWS), str(path))


def own_features(path: Path) -> Features:
    """The features in a file's own metadata; empty if it has none, or is neither parquet nor Arrow."""
    import pyarrow.parquet

    suffix = Path(without_compression(path.name)).suffix.lower()
    if suffix == ".parquet":
        with _open(path, "parquet") as source:
            return features_of_schema(pyarrow.parquet.read_schema(source).metadata)
    if suffix in (".arrow", ".feather"):
        with _open(path, "Arrow") as source:
            return features_of_schema(_batches(path, source)[0].metadata)
    return {}


def _batches(path: Path, source: Any) -> tuple[Any, Iterable[Any]]:
    """The schema and the record batches of an Arrow file, which is written as a stream or as a file."""
    import pyarrow

    begin = source.read(6)
    source.seek(0)
    if begin.startswith(b"FEA1"):
        raise DataError(
            f"`{path}` is a Feather file of version 1",
            "That version is not supported any more.",
            "Write it again with `DataFrame.to_feather` or as parquet",
        )
    if begin == b"ARROW1":
        reader = pyarrow.ipc.open_file(source)
        return reader.schema, (reader.get_batch(number) for number in range(reader.num_record_batches))
    reader = pyarrow.ipc.open_stream(source)
    return reader.schema, reader


@contextmanager
def _open(path: Path, called: str) -> Iterator[Any]:
    """Opens a file for pyarrow. Raises DataError if it cannot be opened, or if what reads it finds it incomplete."""
    import pyarrow

    with open_binary(path) as stream:
        try:
            # Parquet is read from its end, but a compressed file only from its start.
            yield io.BytesIO(stream.read()) if is_compressed(path) else stream
        except MemoryError as error:
            raise DataError(
                f"`{path}` cannot be read as {called}",
                "It asks for more memory than there is, so it is damaged, or far too large.",
                "Save or download it again, in smaller parts",
            ) from error
        except UnicodeDecodeError as error:
            raise DataError(
                f"`{path}` is not a complete {called} file",
                "The name of a column is not UTF-8.",
                "Save or download it again",
            ) from error
        except (pyarrow.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise DataError(
                f"`{path}` is not a complete {called} file", str(error).split("\n")[0], "Save or download it again"
            ) from error


class ArrowRows:
    """Makes rows of record batches.

    Args:
        schema: of the batches.
        name: of the file, for notes.
        features: of the columns; by default those in the schema's metadata.
    """

    def __init__(self, schema: Any, name: str, features: Features | None = None) -> None:
        import pyarrow

        features = features_of_schema(schema.metadata) if features is None else features
        json_columns = [field.name for field in schema if isinstance(field.type, pyarrow.JsonType)]
        self._convert = converters({column: {"_type": "Json"} for column in json_columns} | dict(features))
        self._nested = [field.name for field in schema if _has_struct(field.type)]
        self._number = 0
        self._note = note_on(name, [describe_names(features)])
        self._note_on_nulls = note_on(name, [describe_names(features), ADDED_NULLS])

    def read(self, batch: Any, file: str) -> Iterator[Row | Rejected]:
        """The rows of a batch, and those with values that Python cannot have, such as dates after the year 9999.

        Args:
            batch: `pyarrow.RecordBatch` or `Table`.
            file: name of the file, for the places of the rows.
        """
        for values in _values(batch):
            self._number += 1
            if isinstance(values, str):
                yield Rejected(file, self._number, values)
                continue
            has_dropped = False
            for column in self._nested:
                values[column], dropped = without_added_nulls(values[column])
                has_dropped = has_dropped or dropped
            for column, convert in self._convert.items():
                if values.get(column) is not None:
                    values[column] = convert(values[column])
            yield Row(values, file, self._number, self._note_on_nulls if has_dropped else self._note)


def _values(batch: Any) -> Iterator[dict[str, Any] | str]:
    """The values of each row, or what is wrong with them."""
    try:
        yield from batch.to_pylist(maps_as_pydicts="lossy")
    except (OverflowError, ValueError):
        for number in range(batch.num_rows):
            yield _values_of_row(batch.slice(number, 1))


def _values_of_row(row: Any) -> dict[str, Any] | str:
    values: dict[str, Any] = {}
    for number, name in enumerate(row.schema.names):
        try:
            values |= row.select([number]).to_pylist(maps_as_pydicts="lossy")[0]
        except (OverflowError, ValueError) as error:
            return f"`{name}` has a value out of range: {error}"
    return values


def describe_names(features: Features) -> str:
    """Which labels are named by the metadata, as a phrase after the name of the file; empty if none are."""
    named = named_columns(features)
    return f"has names for the numbers in {quoted(named)}" if named else ""


def _has_struct(kind: Any) -> bool:
    import pyarrow

    if pyarrow.types.is_struct(kind):
        return True
    is_list = pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind) or pyarrow.types.is_fixed_size_list(kind)
    return is_list and _has_struct(kind.value_type)
