"""The names of splits: which file, worksheet, key, hub split or row holds training, validation or test data."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from burnish.data.files.opening import without_compression
from burnish.data.labels.cells import as_flag
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
_FLAGS = {
    **dict.fromkeys(("is_train", "is_training", "in_train"), TRAIN),
    **dict.fromkeys(("is_valid", "is_val", "is_validation", "is_dev", "is_eval"), VALID),
    **dict.fromkeys(("is_test", "is_testing", "in_test", "is_holdout", "is_held_out"), TEST),
}
"""Columns that say in every row, with yes or no, whether it is of a split."""
_DOUBTFUL = ("is_valid", "is_dev", "is_eval")
"""Of these, columns that may as well say that a row is in order, or who wrote it."""
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


def words_beside(name: str) -> str:
    """What a name has beside that of a split and a shard's number: `sft` in `train_sft-00000-of-00002`."""
    known = {alias for names in SPLITS.values() for alias in names}
    return "_".join(part for part in _SEPARATORS.split(_SHARD.sub("", name).lower()) if part and part not in known)


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


def split_columns(rows: Sequence[Row], mapped: Collection[str]) -> tuple[str, ...]:
    """The column that names the split of every row, or those that say with yes or no whether it is of a split; none
    if there are none, if all rows are of one split, or if none is for training.

    Args:
        rows: of one source.
        mapped: columns that the user has given another meaning.
    """
    names = [str(name) for name in (rows[0].values if rows else ()) if name not in mapped]
    flags = tuple(name for name in names if name.lower() in _FLAGS and not _says_another_thing(name, rows))
    named = [(name,) for name in names if name.lower() in _COLUMNS]
    for columns in [*named, *([flags] if flags else [])]:
        splits = {_split_by(row.values, columns) for row in rows}
        if None not in splits and len(splits) > 1 and TRAIN in splits:
            return columns
    return ()


def _says_another_thing(name: str, rows: Sequence[Row]) -> bool:
    """Whether a column such as `is_valid` says something else than the split: most rows have it."""
    is_doubtful = name.lower() in _DOUBTFUL
    return is_doubtful and 2 * sum(as_flag(row.values.get(name)) is True for row in rows) > len(rows)


def _split_by(values: Mapping[str, Any], columns: Sequence[str]) -> str | None:
    """The split of a row by the columns that say it; None if they do not."""
    if columns[0].lower() not in _FLAGS:
        return split_of(str(values.get(columns[0])).strip())
    flags = {_FLAGS[name.lower()]: as_flag(values.get(name)) for name in columns}
    if None in flags.values():
        return None
    held_out = next((split for split in (TEST, VALID) if flags.get(split)), None)
    if held_out is not None or flags.get(TRAIN, True):
        return held_out or TRAIN
    return VALID if TEST in flags and VALID not in flags else TEST


def rows_by_split(rows: Iterable[Row], columns: Sequence[str], disk: Disk | None = None) -> dict[str, Sequence[Row]]:
    """The rows of each split by columns, without those columns; those that name none are for training.

    Args:
        rows: of one source.
        columns: that name the split, as `split_columns` finds them.
        disk: where they are kept; None for memory.
    """
    parts = {split: Gathering[Row](disk=disk) for split in SPLITS}
    for row in rows:
        values = {name: value for name, value in row.values.items() if name not in columns}
        parts[_split_by(row.values, columns) or TRAIN].add(replace(row, values=values))
    return {split: part.done() for split, part in parts.items()}


def describe_columns(columns: Sequence[str], parts: Mapping[str, Sequence[Row]] | None = None) -> str:
    """A sentence that says which columns name the split of each row, and how many rows of each there are."""
    named = " and ".join(f"`{column}`" for column in columns)
    sentence = f"{named} {'has' if len(columns) == 1 else 'have'} the split of each row"
    counted = ", ".join(f"{CALLED[split]} {len(found):,}" for split, found in (parts or {}).items() if found)
    return f"{sentence}: {counted}." if counted else f"{sentence}."
