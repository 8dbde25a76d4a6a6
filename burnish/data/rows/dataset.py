"""Loads the records of a recipe's data section: reads, detects the shape, rejects bad rows, and splits by content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from burnish.data.files.readers import data_suffix, file_suffix
from burnish.data.files.sources import Source, file_name, find_sources, read_source
from burnish.data.files.splits import TRAIN, VALID, rows_by_split
from burnish.data.rows.records import Record, content_hash
from burnish.data.rows.row import Rejected, Row, RowError
from burnish.data.rows.settled import Asked
from burnish.data.rows.shapes import Shape, detect_shape
from burnish.errors import DataError
from burnish.recipe.schema import DataSection


def split_held_out(
    records: Sequence[Record], fraction: float, most: int, seed: int
) -> tuple[list[Record], list[Record]]:
    """Holds out about `fraction` of the distinct records, at most `most` rows. Returns (train, valid), each in order.

    All duplicates of a record are on the same side, and which side does not depend on the order of the file. Of two or
    more distinct records at least one is on each side; a single one is not held out. Questions about the same text are
    on the same side, if there are several texts, because training on a text makes other questions about it easier.
    """
    hashes = split_keys(records)
    sizes: dict[str, int] = {}
    for key in hashes:
        sizes[key] = sizes.get(key, 0) + 1
    wanted = max(1, min(round(fraction * len(sizes)), most, len(sizes) - 1)) if len(sizes) > 1 else 0
    held: set[str] = set()
    rows = 0
    for key in sorted(sizes, key=lambda key: hashlib.sha256(f"{seed}:{key}".encode()).digest()):
        if len(held) == wanted:
            break
        # A record with too many duplicates is skipped, unless there is no other.
        if rows + sizes[key] <= most:
            held.add(key)
            rows += sizes[key]
    if wanted and not held:
        held.add(min(sizes, key=lambda key: (sizes[key], key)))
    train = [record for record, key in zip(records, hashes, strict=True) if key not in held]
    valid = [record for record, key in zip(records, hashes, strict=True) if key in held]
    return train, valid


def split_keys(records: Sequence[Record]) -> list[str]:
    """For each record, a key that it shares with those that must stay on its side: its duplicates, and for questions
    about a text the other questions about it, unless all are about one text."""
    texts = [record.shared_text() for record in records]
    if None in texts or len(set(texts)) < 2:
        return [content_hash(record) for record in records]
    return [hashlib.sha256(str(text).encode("utf-8")).hexdigest() for text in texts]


def assert_disjoint(train: Sequence[Record], valid: Sequence[Record]) -> None:
    """Checks that no training record is also a validation record.

    Raises:
        DataError: a record is in both; the error has the location of the first.
    """
    places = {content_hash(record): record.place for record in train}
    for record in valid:
        place = places.get(content_hash(record))
        if place is not None:
            raise DataError(
                f"{record.place} is in the validation data and, at {place}, in the training data",
                "Metrics on training rows are meaningless.",
                "Remove it from one of the two",
            )


@dataclass(frozen=True, slots=True)
class Records:
    """The training and validation records of a run, and the rejected rows."""

    train: list[Record]
    valid: list[Record]
    shape: Shape
    rejected: list[Rejected]
    sha256: str
    """Over the content hashes of the records used, training before validation, in order (hex)."""
    files: list[str]
    """Files or hub splits that were read."""
    held_out: bool
    """Whether the validation records were held out from the training data."""

    @property
    def ignored_columns(self) -> tuple[str, ...]:
        """Columns that the shape does not use."""
        return self.shape.ignored


MEANINGS = ("system", "user", "assistant", "tool")
"""What a role in a conversation may mean."""


def load_records(section: DataSection, seed: int, asked: Asked | None = None, is_whole: bool = False) -> Records:
    """Reads the data of a recipe, and holds part of it out if there is no validation data.

    Args:
        section: the data section of the recipe.
        seed: determines, with the content of the rows, which are held out.
        asked: what else the recipe says about the meaning of the rows.
        is_whole: whether rows are used whatever split a column says that they are of.

    Raises:
        DataError: the data cannot be found or read, has no known shape, or has no usable row.
    """
    sources = find_sources(section.path, section.validation, section.columns)
    rejected: list[Rejected] = []
    rows = list(islice(good_rows(sources.train, rejected), section.rows))
    refuse_empty(rows, rejected, section.path)
    by_column = None if is_whole or sources.valid else rows_by_split(rows, section.columns.values())
    parts, said = by_column or ({TRAIN: rows, VALID: []}, "")
    rows = parts[TRAIN]
    shape = detect_shape(rows, section.columns, section.shape, asked)
    formats = notes_on_formats([*sources.train, *(sources.valid or [])])
    shape = replace(shape, notes=(*sources.notes, *([said] if said else []), *shape.notes, *formats))
    train = make_records(rows, shape, rejected)
    refuse_empty(train, rejected, section.path)
    if sources.valid is None and not parts[VALID]:
        train, valid = split_held_out(train, section.validation_fraction, section.validation_rows, seed)
    else:
        left_out: list[Rejected] = []
        others = parts[VALID] or list(good_rows(sources.valid or [], left_out))
        shape = replace(shape, notes=tuple(dict.fromkeys((*shape.notes, *(row.note for row in others if row.note)))))
        valid = make_records(others, shape, left_out)
        refuse_empty(valid, left_out, section.validation or str((sources.valid or sources.train)[0]))
        rejected += left_out
        train = without_shared(train, valid, rejected)
    assert_disjoint(train, valid)
    files = [file_name(source) for source in [*sources.train, *(sources.valid or [])]]
    held_out = sources.valid is None and not parts[VALID]
    return Records(train, valid, shape, rejected, hash_records(train, valid), files, held_out=held_out)


def notes_on_formats(sources: Sequence[Source]) -> list[str]:
    """A sentence for each file that is not parsed by the suffix of its name."""
    files = [source for source in sources if isinstance(source, Path)]
    found = [file for file in files if file_suffix(file) != data_suffix(file.name)]
    return [f"`{file}` is read as CoNLL: each of its lines has a word and its tag." for file in found]


def notes_on_reading(sources: Sequence[Source]) -> list[str]:
    """What was guessed about how each source is parsed, from its first row."""
    firsts = (next(good_rows([source], []), None) for source in sources)
    return [first.note for first in firsts if first is not None and first.note]


def good_rows(sources: Sequence[Source], rejected: list[Rejected]) -> Iterator[Row]:
    """Rows of all sources in order; invalid ones are added to `rejected`."""
    for source in sources:
        yield from keep_good(read_source(source), rejected)


def keep_good(rows: Iterable[Row | Rejected], rejected: list[Rejected]) -> Iterator[Row]:
    """The valid rows; the others are added to `rejected`."""
    for row in rows:
        if isinstance(row, Rejected):
            rejected.append(row)
        else:
            yield row


def make_records(rows: Iterable[Row], shape: Shape, rejected: list[Rejected]) -> list[Record]:
    """The records of the rows; unusable ones are added to `rejected`."""
    records: list[Record] = []
    for row in rows:
        try:
            records.append(shape.to_record(row))
        except RowError as error:
            rejected.append(Rejected(row.file, row.line, str(error)))
    return records


def refuse_empty(left: Sequence[Row] | Sequence[Record], rejected: Sequence[Rejected], name: str) -> None:
    """Checks that there is any row to train on.

    Raises:
        DataError: there is none; the first three rejected rows are listed.
    """
    if left:
        return
    if not rejected:
        raise DataError(f"`{name}` has no rows", "The file has no data.", "Add at least two rows")
    first = "; ".join(f"{row.place}: {row.reason}" for row in rejected[:3])
    raise DataError(
        f"`{name}` has no usable row: all {len(rejected):,} are rejected"
        if len(rejected) > 1
        else f"`{name}` has no usable row: its only one is rejected",
        first + ("; …" if len(rejected) > 3 else ""),
        "Fix these rows, or give another file",
    )


def without_shared(train: Sequence[Record], valid: Sequence[Record], rejected: list[Rejected]) -> list[Record]:
    """The training records that are not validation records; the others are added to `rejected`.

    Raises:
        DataError: no training record is left.
    """
    held = {content_hash(record) for record in valid}
    kept: list[Record] = []
    for record in train:
        if content_hash(record) in held:
            file, _, line = record.place.rpartition(":")
            rejected.append(Rejected(file, int(line), "also in the validation data"))
        else:
            kept.append(record)
    if not kept:
        raise DataError(
            "every training row is also in the validation data",
            "Metrics on training rows are meaningless.",
            "Give other validation data, or none: then part of the training rows is held out",
        )
    return kept


def hash_records(*parts: Sequence[Record]) -> str:
    """SHA-256 (hex) over the content hashes of the records, in order."""
    digest = hashlib.sha256()
    for part in parts:
        for record in part:
            digest.update(content_hash(record).encode("ascii"))
        digest.update(b"\n")
    return digest.hexdigest()
