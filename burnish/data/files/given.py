"""Data given from Python: stored as files, so that a run can be resumed, evaluated and reproduced like any other.

Lists of dicts become JSON Lines; tables (pandas, polars, pyarrow, `datasets`) become parquet, with the names of labels.
The folder is named after the content, so the same data is stored once.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.data.files.splits import SPLITS, TEST, TRAIN, VALID, split_of
from burnish.errors import DataError
from burnish.recipe.schema import DataSection
from burnish.runs.atomic import remove_abandoned, temporary_folder, write_folder, write_json
from burnish.system.machine import cache_folder

_DESCRIPTION = "_given.json"
_HASH_CHARACTERS = 16
_FILES = {TRAIN: "train", VALID: "validation", TEST: "test"}


def is_given(data: Any) -> bool:
    """Whether data is given as an object, and not as the name of a file, a folder or a hub dataset."""
    return data is not None and not isinstance(data, (str, Path))


def store_given(data: Any) -> Path:
    """Stores data in the cache, as a file, or as a folder if it has several splits.

    Args:
        data: a list of dicts, or of lists or tuples of cells, a dict of columns, a pandas or polars DataFrame, a
            pyarrow Table, a `datasets.Dataset`, or a dict of such data by split, like a `datasets.DatasetDict`.

    Raises:
        DataError: it is something else, or has values that are not data.
    """
    splits = {split: _known(part) for split, part in _by_split(data).items()}
    described = {split: _describe(part) for split, part in splits.items()}
    remove_abandoned(_folder())
    with temporary_folder(_folder() / "given") as written:
        names = [_store(part, written / _FILES[split]) for split, part in splits.items()]
        sha256 = _hash([written / name for name in names])
        write_json(written / _DESCRIPTION, {"given": described, "sha256": sha256})
        stored = _folder() / sha256[:_HASH_CHARACTERS]
        if not stored.exists():
            with write_folder(stored) as target:
                shutil.copytree(written, target, dirs_exist_ok=True)
    return stored if len(names) > 1 else stored / names[0]


def with_splits(data: Any, validation: Any = None, test: Any = None) -> dict[str, Any]:
    """Data with other data for validation and test, all given from Python, as data by split; None for as it is."""
    others = {VALID: validation, TEST: test}
    return {**_by_split(data), **{split: other for split, other in others.items() if other is not None}}


def keep_section(section: DataSection, folder: Path) -> DataSection:
    """A data section whose stored data has been copied into a folder of the run, which outlives the cache.

    The section names it relative to the run folder, so that the run can be moved.

    Args:
        section: may name stored data or any other.
        folder: to copy the training data into, in the run folder; the others go beside it. It does not exist yet.
    """
    splits = ("validation", "test")
    kept = {name: _keep(getattr(section, name), folder.with_name(f"{folder.name}-{name}")) for name in splits}
    if isinstance(section.path, str):  # several sources are files, none of them stored
        kept["path"] = _keep(section.path, folder)
    return section.model_copy(update={name: path for name, path in kept.items() if path is not None})


def _keep(path: str | None, folder: Path) -> str | None:
    """Copies stored data; returns its new name, or None for data that was not stored."""
    stored = Path(path or "")
    if not stored.is_absolute() or not stored.is_relative_to(_folder()):
        return None
    source = stored if stored.is_dir() else stored.parent
    with write_folder(folder) as target:
        shutil.copytree(source, target, dirs_exist_ok=True)
    return folder.name if source == stored else f"{folder.name}/{stored.name}"


def _folder() -> Path:
    return (cache_folder() / "given").absolute()


def _by_split(data: Any) -> dict[str, Any]:
    """The data of each split; data without splits is for training."""
    if not isinstance(data, Mapping) or not data:
        return {TRAIN: data}
    named = {str(name): split_of(str(name)) for name in data}
    if not all(named.values()):
        return {TRAIN: data}
    splits = {split: [name for name in data if named[str(name)] == split] for split in SPLITS}
    twice = next((names for names in splits.values() if len(names) > 1), None)
    if twice:
        raise DataError(f"the data has two splits of the same kind: `{twice[0]}` and `{twice[1]}`", "", "Give one")
    if not splits[TRAIN]:
        raise DataError("the data has no split named train", f"Its splits are {', '.join(named)}.", "Name one `train`")
    return {split: data[names[0]] for split, names in splits.items() if names}


def _known(part: Any) -> Any:
    """Data with a length: the rows of a generator are read now."""
    if isinstance(part, Iterable) and not hasattr(part, "__len__") and not hasattr(part, "features"):
        return list(part)
    return part


def _describe(part: Any) -> str:
    kind = type(part)
    module = kind.__module__.partition(".")[0]
    name = kind.__name__ if module == "builtins" else f"{module}.{kind.__name__}"
    unit = "columns" if isinstance(part, Mapping) else "rows"
    return f"{name} with {len(part):,} {unit}" if hasattr(part, "__len__") else name


def _store(part: Any, stem: Path) -> str:
    """Writes one split; returns the name of its file."""
    if hasattr(part, "to_parquet") and hasattr(part, "features"):  # keeps the names of labels
        path = stem.with_suffix(".parquet")
        _write_dataset(part, path)
        return path.name
    if hasattr(part, "__arrow_c_stream__") or hasattr(part, "to_arrow"):
        return _store_table(part, stem)
    if isinstance(part, Mapping):
        part = _rows_of_columns(part)
    if isinstance(part, Iterable) and not isinstance(part, (str, bytes)):
        return _store_rows(list(part), stem)
    raise _unknown(part)


def _unknown(part: Any) -> DataError:
    return DataError(
        f"data cannot be read from {type(part).__name__}",
        "Data is a list of dicts, a dict of columns, a DataFrame, a pyarrow Table, a `datasets.Dataset` or a name.",
        "Give rows as dicts: `[{'prompt': ..., 'completion': ...}]`",
    )


def _write_dataset(part: Any, path: Path) -> None:
    """Writes a `datasets.Dataset` with its features, in the order of its rows."""
    import datasets
    import pyarrow
    import pyarrow.parquet

    if not isinstance(part, datasets.Dataset):
        raise DataError(
            f"data cannot be read from {type(part).__name__}",
            "It is read only as it is used, so its rows are not known.",
            "Load it completely: `datasets.load_dataset(..., streaming=False)`",
        )
    schema = part.features.arrow_schema
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:
        for table in part.with_format("arrow").iter(batch_size=10_000):
            writer.write_table(pyarrow.table(table).cast(schema))


def _store_table(part: Any, stem: Path) -> str:
    import pyarrow
    import pyarrow.parquet

    path = stem.with_suffix(".parquet")
    try:
        table = part.to_arrow() if hasattr(part, "to_arrow") else pyarrow.table(part)
        pyarrow.parquet.write_table(_without_index(table), path)
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise DataError(
            f"the {type(part).__name__} cannot be stored as a table",
            str(error).split("\n")[0],
            "Give each column values of one type, or give a list of dicts",
        ) from error
    return path.name


def _without_index(table: Any) -> Any:
    """A table without the index of a DataFrame, which is no column of the user's."""
    names = [name for name in table.column_names if not str(name).startswith("__index_level_")]
    return table.select(names).replace_schema_metadata(
        {key: value for key, value in (table.schema.metadata or {}).items() if key != b"pandas"}
    )


def _rows_of_columns(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    lengths = {name: len(column) for name, column in columns.items() if isinstance(column, Sequence)}
    if len(lengths) < len(columns) or any(isinstance(column, str) for column in columns.values()):
        raise _unknown(columns)
    if len(set(lengths.values())) > 1:
        named = ", ".join(f"`{name}` {length}" for name, length in lengths.items())
        raise DataError("the columns differ in length", f"{named}.", "Give each column as many values")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _store_rows(rows: Sequence[Any], stem: Path) -> str:
    path = stem.with_suffix(".jsonl")
    if not rows:
        raise DataError("the data has no rows", "The list is empty.", "Add at least two rows")
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows):
            if not isinstance(row, (Mapping, list, tuple)):
                raise DataError(
                    f"row {number} of the data is {type(row).__name__}, not a dict",
                    "Each row has its values by column, or at least in one order.",
                    "Give rows as dicts: `[{'prompt': ..., 'completion': ...}]`",
                )
            try:
                file.write(
                    json.dumps(dict(row) if isinstance(row, Mapping) else row, ensure_ascii=False, default=_plain)
                    + "\n"
                )
            except UnicodeEncodeError as error:
                raise DataError(
                    f"row {number} of the data has half a surrogate pair", str(error), "Remove that character"
                ) from error
            except (TypeError, ValueError, RecursionError) as error:
                raise DataError(
                    f"row {number} of the data cannot be stored as JSON",
                    f"{error}.",
                    "Give texts, numbers, lists and dicts; images as paths or bytes in base64",
                ) from error
    return path.name


def _plain(value: Any) -> Any:
    """A value of numpy, or a date, as JSON holds it. Raises TypeError for others."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (set, tuple)):
        return list(value)
    raise TypeError(f"{type(value).__name__} is not a value of JSON")


def _hash(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode("utf-8"))
        digest.update(path.read_bytes())
    return digest.hexdigest()
