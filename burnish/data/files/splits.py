"""The names of splits: which file, worksheet, key, hub split or row holds training, validation or test data."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from burnish.data.files.opening import without_compression
from burnish.data.rows.disk import Disk
from burnish.data.rows.packed import Gathering
from burnish.data.rows.row import Row

TRAIN, VALID, TEST = "train", "valid", "test"
SPLITS = {
    TRAIN: ("train", "training"),
    VALID: ("valid", "validation", "val", "eval", "evaluation", "dev", "development"),
    TEST: ("test", "testing"),
}
"""The names that each split may have, in any case."""
CALLED = {TRAIN: "train", VALID: "validation", TEST: "test"}
"""The split's name in messages."""
# A split may be stored in shards, as in hub datasets: train-00000-of-00002.parquet.
_SHARD = re.compile(r"-\d+-of-\d+$")
_COLUMNS = ("split", "data_split", "dataset_split", "subset", "partition", "set", "fold")
"""Columns that may have the name of a split in every row."""
_SEPARATORS = re.compile(r"[-_. ]+")
_SHOWN = 20
"""Sources of a split that are named; a corpus may have a file for every text."""

Item = TypeVar("Item")


def plain_stem(path: Path) -> str:
    """The file's name without its suffixes for format and compression."""
    return Path(without_compression(path.name)).stem


def is_shard(path: Path) -> bool:
    """Whether the file is one of several that hold a split."""
    return _SHARD.search(plain_stem(path)) is not None


def split_of(name: str) -> str | None:
    """The split whose name this is, without a shard's number: `Train-00000-of-00002` is the training split."""
    bare = _SHARD.sub("", name).lower()
    return next((split for split, names in SPLITS.items() if bare in names), None)


def split_within(name: str) -> str | None:
    """The only split whose name is a part of this name, as in `en_ewt-ud-dev`."""
    parts = set(_SEPARATORS.split(_SHARD.sub("", name).lower()))
    found = [split for split, names in SPLITS.items() if parts & set(names)]
    return found[0] if len(found) == 1 else None


def by_split(items: Iterable[tuple[str, Item]]) -> dict[str, list[Item]]:
    """Named items by split; those whose name is not that of a split are left out."""
    found: dict[str, list[Item]] = {split: [] for split in SPLITS}
    for name, item in items:
        split = split_of(name)
        if split is not None:
            found[split].append(item)
    return found


def describe_splits(parts: Mapping[str, Sequence[object]]) -> str:
    """The sources of each split, as text: `train a.jsonl, validation b.jsonl`; of many, the first ones."""
    named = [(CALLED[split], sources) for split, sources in parts.items() if sources]
    return ", ".join(f"{name} {_joined(sources)}" for name, sources in named)


def _joined(sources: Sequence[object]) -> str:
    shown = [str(source) for source in sources[:_SHOWN]]
    return " + ".join([*shown, *([f"{len(sources) - _SHOWN:,} more"] if len(sources) > _SHOWN else [])])


def split_column(rows: Sequence[Row], mapped: Collection[str]) -> str | None:
    """The column that names the split of every row; None if there is none, if all rows are of one split, or if none is
    for training.

    Args:
        rows: of one source.
        mapped: columns that the user has given another meaning.
    """
    columns = [
        name for name in (rows[0].values if rows else ()) if str(name).lower() in _COLUMNS and name not in mapped
    ]
    for column in columns:
        splits = {split_of(str(row.values.get(column)).strip()) for row in rows}
        if None not in splits and len(splits) > 1 and TRAIN in splits:
            return column
    return None


def rows_by_split(rows: Iterable[Row], column: str, disk: Disk | None = None) -> dict[str, Sequence[Row]]:
    """The rows of each split by a column, without that column; those that name none are for training.

    Args:
        rows: of one source.
        column: that names the split.
        disk: where they are kept; None for memory.
    """
    parts = {split: Gathering[Row](disk=disk) for split in SPLITS}
    for row in rows:
        values = {name: value for name, value in row.values.items() if name != column}
        parts[split_of(str(row.values.get(column)).strip()) or TRAIN].add(replace(row, values=values))
    return {split: part.done() for split, part in parts.items()}


def describe_column(column: str, parts: Mapping[str, Sequence[Row]]) -> str:
    """A sentence that says how many rows of each split a column names."""
    counted = ", ".join(f"{CALLED[split]} {len(found):,}" for split, found in parts.items() if found)
    return f"`{column}` has the split of each row: {counted}."
