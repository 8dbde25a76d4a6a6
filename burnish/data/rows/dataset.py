"""Loads the records of a recipe's data section: reads, detects the shape, rejects bad rows, and splits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, replace

import numpy

from burnish.data.files.sources import Source, Sources, file_name, find_all
from burnish.data.files.splits import CALLED, TEST, TRAIN, VALID, describe_columns, rows_by_split, split_columns
from burnish.data.rows.disk import Disk
from burnish.data.rows.division import Division, divide
from burnish.data.rows.groups import describe_groups, group_of, refuse_missing_group
from burnish.data.rows.keyed import KeyedRows, Keying
from burnish.data.rows.mixing import Drawn, Origins, mix
from burnish.data.rows.packed import gather
from burnish.data.rows.place import find_place
from burnish.data.rows.reading import good_rows, notes_on_formats, rows_of, training_rows
from burnish.data.rows.records import Record, content_hash
from burnish.data.rows.row import Rejected, Row, RowError, quoted
from burnish.data.rows.settled import Asked
from burnish.data.rows.shapes import Shape, detect_shape
from burnish.errors import DataError
from burnish.recipe.schema import NONE, DataSection


def assert_disjoint(train: Sequence[Record], valid: Sequence[Record], test: Sequence[Record] = ()) -> None:
    """Checks that no record is in two splits.

    Raises:
        DataError: one is; the error has the location of the first.
    """
    held_out = {content_hash(record) for part in (valid, test) for record in part}
    places: dict[str, tuple[str, str]] = {}
    for record in train:
        if (content := content_hash(record)) in held_out:
            places.setdefault(content, (record.place, "training"))
    for name, records in (("validation", valid), ("test", test)):
        for record in records:
            place, other = places.setdefault(content_hash(record), (record.place, name))
            if other != name:
                raise DataError(
                    f"{record.place} is in the {name} data and, at {place}, in the {other} data",
                    "Metrics on rows that were used for training or choosing are meaningless.",
                    "Remove it from one of the two",
                )


@dataclass(frozen=True, slots=True)
class Records:
    """The records of a run by split, and the rejected rows."""

    train: Sequence[Record]
    valid: Sequence[Record]
    """They choose the checkpoint."""
    test: Sequence[Record]
    """They choose nothing; empty if there is no test split."""
    shape: Shape
    rejected: list[Rejected]
    sha256: str
    """Over the content hashes of the records used: training, validation, test, in order (hex)."""
    files: list[str]
    """Files or hub splits that were read."""
    held_out: frozenset[str] = frozenset()
    """The splits that were held out from the training data, of `VALID` and `TEST`."""
    why_no_test: str = ""
    """Why there is no test split, as a phrase; empty if there is one."""
    origins: Origins | None = None
    """Which rows are from which source; None where there is one source."""
    drawn: tuple[Drawn, ...] = ()
    """How many rows of each of several sources are trained on."""
    disk: Disk | None = None
    """Where the records are kept; None for memory."""

    @property
    def decisive(self) -> Sequence[Record]:
        """The rows that open options depend on: those for training, or, where all rows are test rows, these."""
        return self.train or self.test

    def sources_of_valid(self, rows: Sequence[int]) -> list[str]:
        """The names of the sources of these validation rows, empty for one of none; nothing where there is one source.

        Args:
            rows: numbers of validation rows.
        """
        if self.origins is None:
            return []
        names = [*self.origins.names, ""]
        return [names[self.origins.of(self.valid[row].place)] for row in rows]

    @property
    def ignored_columns(self) -> tuple[str, ...]:
        """Columns that the shape does not use."""
        return self.shape.ignored


MEANINGS = ("system", "user", "assistant", "tool")
"""What a role in a conversation may mean."""


def load_records(section: DataSection, asked: Asked | None = None, is_whole: bool = False) -> Records:
    """Reads the data of a recipe, and holds part of it out for the splits that have no data of their own.

    Args:
        section: the data section of the recipe.
        asked: what else the recipe says about the meaning of the rows.
        is_whole: whether all rows are used as test rows, whatever split a file, a name or a column says.

    Raises:
        DataError: the data cannot be found or read, has no known shape, or has no usable row.
    """
    sources, origins = find_all(section), Origins.of_paths([one.path for one in section.sources])
    everything = [*sources.train, *(sources.valid or []), *(sources.test or [])]
    disk = find_place(section, everything)
    rejected: list[Rejected] = []
    rows = gather(training_rows(sources, section, rejected, origins), disk)
    refuse_empty(rows, rejected, section.named)
    part = _Part(rows, rejected, section.named, disk=disk)
    parts, notes = _by_split(part, section, sources, uses_column=not is_whole, origins=origins)
    rows = parts[TRAIN].rows
    refuse_missing_group(rows, section.group)
    shape = detect_shape(rows, section.columns, section.shape, replace(asked or Asked(), group=section.group))
    notes = [*sources.notes, *notes, *shape.notes, *notes_on_formats(everything)]
    notes += dict.fromkeys(row.note for part in parts.values() for row in part.rows if row.note)
    if is_whole:
        split = _all_for_test(parts, shape, rejected)
    else:
        split = _Splitting(section, shape, rejected, origins, disk).split(parts)
    assert_disjoint(split.train, split.valid, split.test)
    return Records(
        split.train,
        split.valid,
        split.test,
        replace(shape, notes=tuple(dict.fromkeys([*notes, *split.notes]))),
        rejected,
        hash_records(split.train, split.valid, *([split.test] if split.test else [])),
        [file_name(source) for source in everything],
        split.held_out,
        split.why_no_test,
        origins if len(section.sources) > 1 else None,
        split.drawn,
        disk,
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """What is given for a split."""

    rows: Sequence[Row]
    rejected: list[Rejected]
    """Rows that cannot be read."""
    name: str
    """Where they are from, for messages; empty if nothing is given for the split."""
    is_named: bool = False
    """Whether an option names this data, rather than the data having a part of that name."""
    disk: Disk | None = None
    """Where the rows are kept; None for memory."""


def _by_split(
    train: _Part, section: DataSection, sources: Sources, uses_column: bool, origins: Origins
) -> tuple[dict[str, _Part], list[str]]:
    """What is given for each split, by files or by a column, and sentences about that.

    Args:
        train: what the training sources hold.
        section: the data section of the recipe.
        sources: of all splits.
        uses_column: whether a column may name the split of each row. It does not where all splits have sources.
        origins: learns which file is of which source.
    """
    disk = train.disk
    valid = _part(
        sources.valid, section.validation is not None, [one.valid for one in sources.by_source], origins, disk
    )
    test = _part(sources.test, section.test is not None, [one.test for one in sources.by_source], origins, disk)
    given = {TRAIN: train, VALID: valid, TEST: test}
    columns = find_split_columns(train.rows, section, sources) if uses_column else ()
    if not columns:
        return given, []
    found = rows_by_split(train.rows, columns, disk)
    parts, notes = {TRAIN: replace(train, rows=found[TRAIN])}, [describe_columns(columns, found)]
    for split in (VALID, TEST):
        parts[split] = given[split]
        if found[split] and (given[split].name or (split == TEST and section.test == NONE)):
            named = f"there is `{given[split].name}`" if given[split].name else f"`data.test` is `{NONE}`"
            number = len(found[split])
            notes.append(f"The {number:,} rows that it calls {CALLED[split]} are not used, since {named}.")
        elif found[split]:
            parts[split] = _Part(found[split], [], section.named, disk=disk)
    return parts, notes


def find_split_columns(rows: Sequence[Row], section: DataSection, sources: Sources) -> tuple[str, ...]:
    """The columns that name the split of each training row; none if there are none, or if no split needs them."""
    if sources.valid and (sources.test or section.test == NONE):
        return ()
    return split_columns(rows, [*section.columns.values(), *([section.group] if section.group else [])])


def _all_for_test(parts: Mapping[str, _Part], shape: Shape, rejected: list[Rejected]) -> Splits:
    """All rows of all splits as test rows."""
    for split in (VALID, TEST):
        rejected += parts[split].rejected
    rows = (row for part in parts.values() for row in part.rows)
    records = gather(shape.to_records(rows, rejected), parts[TRAIN].disk)
    refuse_empty(records, rejected, parts[TRAIN].name)
    return Splits([], [], records)


def _part(
    sources: Sequence[Source] | None,
    is_named: bool,
    by_source: Sequence[Sequence[Source] | None],
    origins: Origins,
    disk: Disk | None,
) -> _Part:
    rejected: list[Rejected] = []
    if is_named:
        rows = gather(good_rows(sources or [], rejected), disk)
    else:
        own = (rows_of(some, rejected, origins, number) for number, some in enumerate(by_source))
        rows = gather((row for rows in own for row in rows), disk)
    return _Part(rows, rejected, str(sources[0]) if sources else "", is_named, disk)


@dataclass(frozen=True, slots=True)
class Splits:
    """The records of each split."""

    train: Sequence[Record]
    valid: Sequence[Record]
    test: Sequence[Record]
    held_out: frozenset[str] = frozenset()
    why_no_test: str = ""
    notes: tuple[str, ...] = ()
    drawn: tuple[Drawn, ...] = ()


@dataclass(frozen=True, slots=True)
class _Splitting:
    """Makes records of the rows given for each split, and holds some out for the splits without any."""

    section: DataSection
    shape: Shape
    rejected: list[Rejected]
    """Receives what is left out."""
    origins: Origins
    disk: Disk | None
    """Where the records are kept; None for memory."""

    def split(self, parts: Mapping[str, _Part]) -> Splits:
        """The records of each split: none is in two of them, and test rows come before all others.

        Raises:
            DataError: a split has no usable row.
        """
        section, rejected = self.section, self.rejected
        train = self._keyed(parts[TRAIN].rows, rejected)
        refuse_empty(train, rejected, section.named)
        notes = describe_groups(parts[TRAIN].rows, section.group)
        valid, test = None, None
        if parts[VALID].name:
            valid, left_out = self._records_of(parts[VALID])
            refuse_empty(valid, left_out, parts[VALID].name)
            rejected += left_out
        unusable = ""
        if parts[TEST].name:
            test, left_out = self._records_of(parts[TEST])
            unusable = why_unusable(train.records, test.records, left_out)
            if unusable and parts[TEST].is_named:
                refuse_empty(test, left_out, parts[TEST].name)
                raise DataError(
                    f"`{parts[TEST].name}` cannot be the test data",
                    f"{unusable[:1].upper()}{unusable[1:]}.",
                    "Give rows with their labels, or none: then part of the training rows is held out",
                )
            rejected += [] if unusable else left_out
            test = None if unusable else test
        if test is not None:
            train = self._without(train, test, "training", "test")
        asks_for_test = test is None and section.test != NONE and section.test_fraction > 0
        asked = [*([VALID] if valid is None else []), *([TEST] if asks_for_test else [])]
        division = divide(train, section, asked)
        test, train = division.test if test is None else test, division.train
        if valid is None:
            valid = division.valid
        else:
            valid = self._without(valid, test, "validation", "test")
            train = self._without(train, valid, "training", "validation")
        if unusable:
            instead = " Test rows are held out from the training data instead." if division.test else ""
            notes.append(f"The test data in `{parts[TEST].name}` is not used: {unusable}.{instead}")
        train, drawn = self._mixed(train, notes)
        return Splits(
            train.records,
            valid.records,
            test.records,
            frozenset(split for split in asked if division.of(split)),
            "" if test else self._why_no_test(division),
            tuple(notes),
            tuple(drawn),
        )

    def _mixed(self, train: KeyedRows, notes: list[str]) -> tuple[KeyedRows, list[Drawn]]:
        """The training rows with their share of each of several sources, which is noted."""
        sources = self.section.sources
        if len(sources) == 1:
            return train, []
        paths, weights = [one.path for one in sources], [one.weight for one in sources]
        train, drawn = mix(train, self.origins, paths, weights, self.section.split_seed)
        notes.append(f"Training rows: {', '.join(one.described(len(train)) for one in drawn)}.")
        return train, drawn

    def _why_no_test(self, division: Division) -> str:
        if self.section.test == NONE:
            return f"`data.test` is `{NONE}`"
        return division.why_no_test or "`data.test_fraction` is 0"

    def _records_of(self, part: _Part) -> tuple[KeyedRows, list[Rejected]]:
        left_out = [*part.rejected]
        return self._keyed(part.rows, left_out), left_out

    def _keyed(self, rows: Sequence[Row], rejected: list[Rejected]) -> KeyedRows:
        group, kept = self.section.group, Keying(self.disk)
        for row in rows:
            try:
                record = self.shape.to_record(row)
                name = group_of(row, group) if group else ""
            except RowError as error:
                rejected.append(Rejected(row.file, row.line, str(error)))
                continue
            kept.add(record, name, str(self.origins.of(record.place)) if len(self.origins.names) > 1 else "")
        return kept.done()

    def _without(self, rows: KeyedRows, others: KeyedRows, split: str, other: str) -> KeyedRows:
        """The rows of a split that are not in another one, nor of its groups; the others are left out.

        Raises:
            DataError: no row is left.
        """
        is_shared = numpy.isin(rows.contents, others.contents)
        is_out = is_shared | numpy.isin(rows.keys, others.keys)
        for number in numpy.flatnonzero(is_out).tolist():
            file, _, line = rows.records[number].place.rpartition(":")
            what = "" if is_shared[number] else f"its `{self.section.group}` is "
            self.rejected.append(Rejected(file, int(line), f"{what}also in the {other} data"))
        if is_out.all():
            raise DataError(
                f"every {split} row is also in the {other} data",
                f"Metrics on {split} rows are meaningless."
                if split == "training"
                else "Validation rows choose the checkpoint, and test rows must choose nothing.",
                f"Give other {other} data, or none: then part of the training rows is held out",
            )
        return rows.taken(numpy.flatnonzero(~is_out))


def why_unusable(train: Sequence[Record], test: Sequence[Record], left_out: Sequence[Rejected]) -> str:
    """Why test data has nothing to compare answers with, as a phrase; empty if it has.

    Many public benchmarks keep the labels of their test split to themselves: the column is missing or empty, or has a
    placeholder such as -1 in every row.
    """
    if not test:
        first = f"; the first is {left_out[0].place}: {left_out[0].reason}" if left_out else ""
        return f"none of its {len(left_out):,} rows can be used{first}" if left_out else "it has no rows"
    known, found = ({one for record in part for one in record.strata()} for part in (train, test))
    if known and not found:
        return "none of its rows has a label"
    if known and found.isdisjoint(known):
        return f"none of its labels ({quoted(sorted(found), 3)}) is a label of the training rows"
    numbers, others = ([n for one in part if (n := one.amount()) is not None] for part in (train, test))
    if others and not any(min(numbers) <= number <= max(numbers) for number in others):
        return f"none of its numbers (from {min(others):g} to {max(others):g}) is in the range of the training rows"
    return ""


def refuse_empty(left: Sized, rejected: Sequence[Rejected], name: str) -> None:
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
        else f"`{name}` has no usable row: its only row is rejected",
        first + ("; …" if len(rejected) > 3 else ""),
        "Fix these rows, or give another file",
    )


def hash_records(*parts: Sequence[Record]) -> str:
    """SHA-256 (hex) over the content hashes of the records, in order."""
    digest = hashlib.sha256()
    for part in parts:
        for record in part:
            digest.update(content_hash(record).encode("ascii"))
        digest.update(b"\n")
    return digest.hexdigest()
