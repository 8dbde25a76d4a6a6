"""Shapes: their detection over all rows, and rows made into records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from burnish.data.rows.ignored import refuse_ignored
from burnish.data.rows.mapping import unknown_shape
from burnish.data.rows.packed import mapped
from burnish.data.rows.pattern import Pattern, load_function
from burnish.data.rows.patterns import BY_NAME, CONVERSATIONS, FIRST, LABEL, PATTERNS, SCORE, SECOND
from burnish.data.rows.records import (
    LabelledRecord,
    RatedRecord,
    Record,
    ScoredRecord,
)
from burnish.data.rows.row import ColumnMap, Rejected, Row, RowError, did_you_mean, is_known_name, pick, quoted
from burnish.data.rows.settled import Asked, Choice, Reading, Settled
from burnish.data.rows.unnamed_columns import UNNAMED, columns_of_unnamed
from burnish.errors import DataError


def pattern_of(values: Mapping[str, Any], patterns: Sequence[Pattern]) -> Pattern | None:
    """The first of the patterns that a row matches."""
    fitting = [pattern for pattern in patterns if pattern.fits(values)]
    if fitting and fitting[0].name in CONVERSATIONS:
        _, turns = pick(values, fitting[0].required[0])
        speaks_from = isinstance(turns, list) and bool(turns) and isinstance(turns[0], dict) and "from" in turns[0]
        name = "sharegpt" if speaks_from else "messages"
        return next((pattern for pattern in fitting if pattern.name == name), fitting[0])
    return fitting[0] if fitting else None


def patterns_of(rows: Iterable[Mapping[str, Any]], patterns: Sequence[Pattern]) -> Iterator[Pattern | None]:
    """`pattern_of` each row; the columns are matched only once per set of columns."""
    possible: dict[tuple[str, ...], list[Pattern]] = {}
    for values in rows:
        columns = tuple(values)
        if columns not in possible:
            possible[columns] = [pattern for pattern in patterns if pattern.has_columns(columns)]
        yield pattern_of(values, possible[columns])


def describe_patterns(found: Iterable[str] = ()) -> str:
    """Lists the shapes, and the required columns of those that use any of the columns found."""
    found = set(found)
    # those with the columns of another, as `scored-` has those of `labelled-`, are named once
    plain = [one for one in PATTERNS if one.record is not ScoredRecord and one.name != "marked-text"]
    like = [one for one in plain if found & set(one.names)]
    near = [f"{pattern.name} ({pattern.needs})" for pattern in like]
    names = f"The shapes are {', '.join(BY_NAME)}"
    return f"{names}; similar ones are {'; '.join(near)}." if near else f"{names}."


AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of a file's rows: its name, the kind of record they are, and how a row becomes a record."""

    pattern: Pattern
    column_map: ColumnMap
    ignored: tuple[str, ...]
    """Columns of the file that are not used, sorted."""
    notes: tuple[str, ...] = ()
    """Sentences for the user about how the rows were read."""
    readings: tuple[Reading, ...] = ()
    """How cells are taken, in order, before the pattern makes a record of them."""
    choices: tuple[Choice, ...] = ()
    """Values for options that are `auto`, so that other rows are read alike."""
    unused_keys: tuple[str, ...] = ()
    """Keys inside of messages that are not used, sorted."""

    @property
    def name(self) -> str:
        """Name of the shape."""
        return self.pattern.name

    @property
    def record(self) -> type[Record]:
        """What such rows mean."""
        return self.pattern.record

    @property
    def unused(self) -> str:
        """What of the rows is not used, in words; empty if everything is."""
        parts = [f"the columns {quoted(self.ignored)}"] if self.ignored else []
        parts += [f"the keys {quoted(self.unused_keys)} inside messages"] if self.unused_keys else []
        return " and ".join(parts)

    def to_record(self, row: Row) -> Record:
        """The record of a row.

        Raises:
            RowError: the row is unusable or has another shape.
        """
        values: Mapping[str, Any] = self.column_map.rename(row.values)
        for reading in self.readings:
            values = reading.prepare(values)
        pattern = self.pattern
        missing = [field for field in pattern.required if not any(name in values for name in field)]
        if missing:
            other = pattern_of(values, PATTERNS)
            seems = f"; this row looks like `{other.name}`" if other else ""
            raise RowError(f"there is no column `{missing[0][0]}`{seems}")
        return load_function(pattern.reader)(pattern, values, row.place)

    def to_records(self, rows: Iterable[Row], rejected: list[Rejected]) -> Iterator[Record]:
        """The records of rows; those that are unusable are added to `rejected` meanwhile."""
        for row in rows:
            try:
                yield self.to_record(row)
            except RowError as error:
                rejected.append(Rejected(row.file, row.line, str(error)))


def detect_shape(
    rows: Sequence[Row], columns: Mapping[str, str], wanted: str = AUTO, asked: Asked | None = None
) -> Shape:
    """Detects the common shape of the rows.

    Args:
        rows: all rows; every one is checked.
        columns: field -> column of the file, from the recipe. The shape must then use those fields.
        wanted: the name of a shape, or `auto`.
        asked: what else the user has set about their meaning.

    Raises:
        DataError: no known shape, several shapes in one file, or a wrong column map or shape name; or something that
            only the user can decide.
    """
    columns_of_rows, notes_of_rows = dict[tuple[str, ...], None](), dict[str, None]()
    for row in rows:
        columns_of_rows[tuple(row.values)] = notes_of_rows[row.note] = None
    found = sorted({str(key) for keys in columns_of_rows for key in keys})
    asked = replace(asked or Asked(), columns=columns, shape=wanted)
    unnamed = ""
    if wanted == AUTO and not columns and tuple(found) in UNNAMED:
        columns, unnamed = columns_of_unnamed(rows, asked.records)
    column_map = ColumnMap(columns)
    column_map.check(found)
    patterns = candidates(columns, wanted)
    group = asked.group
    left_out = group if group is not None and _is_only_group(group, columns) else None

    def rename(row: Row) -> Mapping[str, Any]:
        values = column_map.rename(row.values)
        return values if left_out is None else {name: values[name] for name in values if name != left_out}

    renamed = mapped(rows, rename)
    first, renamed = load_function("burnish.data.labels.columns:with_label_columns")(renamed, asked)
    shapes = list(patterns_of(renamed, patterns))
    counts = Counter(pattern for pattern in shapes if pattern is not None)
    if not counts:
        is_pair = not set(FIRST).isdisjoint(found) and not set(SECOND).isdisjoint(found)
        pattern = None if wanted == AUTO else BY_NAME[wanted]
        raise unknown_shape(rows, found, pattern, describe_patterns(found), is_pair)
    main = next((pattern for pattern in counts if pattern.name == "entities"), counts.most_common(1)[0][0])
    if wanted == AUTO:
        refuse_mixed(rows, renamed, shapes, main)
    settled = _settle(renamed, patterns, main, asked)
    main = replace(settled.pattern, roles=asked.roles)
    readings = (*first.readings, *settled.readings)
    notes = [*filter(None, [*notes_of_rows, unnamed]), *main.make_notes(renamed)]
    used = {name for reading in readings for name in reading.columns}
    if main.name == "text" and asked.is_free:
        known = {*columns.values(), *main.names, *LABEL, *SCORE, *used, group}
        refuse_ignored(rows, [name for name in found if name not in known and name.lower() not in known])
    ignored = {str(key) for keys in {tuple(values) for values in renamed} for key in set(keys) - main.reads(keys)}
    return Shape(
        main,
        column_map,
        tuple(sorted(ignored - used - {group})),
        (*notes, *first.notes, *settled.notes),
        readings,
        (*first.choices, *settled.choices),
        load_function("burnish.data.chat.questions:unused_keys")(renamed, main.names),
    )


def _is_only_group(column: str, columns: Mapping[str, str]) -> bool:
    """Whether a column of `data.group` cannot be one that shapes read: it has another name, and is not mapped."""
    return not is_known_name(column) and column not in columns.values()


def _settle(rows: Sequence[Mapping[str, Any]], patterns: Sequence[Pattern], main: Pattern, asked: Asked) -> Settled:
    """What the rows mean, decided over all of them; the next pattern is tried where the first does not hold."""
    while main.settle:
        settled = load_function(main.settle)(main, rows, asked)
        if settled is not None:
            return settled
        patterns = [pattern for pattern in patterns if pattern != main]
        counts = Counter(pattern for pattern in patterns_of(rows, patterns) if pattern is not None)
        if not counts:
            break
        main = counts.most_common(1)[0][0]
    return Settled(main)


def candidates(columns: Mapping[str, str], wanted: str) -> list[Pattern]:
    """The patterns to try: the wanted one, or those that use every mapped field.

    Raises:
        DataError: the shape does not exist, or none uses all these fields.
    """
    if wanted != AUTO and wanted not in BY_NAME:
        raise DataError(
            f"`data.shape: {wanted}` is not a shape",
            f"The shapes are {', '.join(BY_NAME)}.",
            did_you_mean(wanted, BY_NAME) or "Use one of these, or `auto`",
        )
    patterns = PATTERNS if wanted == AUTO else (BY_NAME[wanted],)
    fitting = [pattern.narrowed(columns) for pattern in patterns if set(columns) <= set(pattern.names)]
    if not fitting:
        what = "no shape uses all of" if wanted == AUTO else f"the shape `{wanted}` does not use all of"
        raise DataError(
            f"{what} the fields {quoted(columns)} in `data.columns`",
            describe_patterns(columns),
            "Map only the fields of one shape",
        )
    return fitting


def refuse_mixed(
    rows: Sequence[Row], renamed: Sequence[Mapping[str, Any]], shapes: Sequence[Pattern | None], main: Pattern
) -> None:
    """Raises an error for files with rows of several shapes, unless those of another shape are very few.

    A row with only some of the main shape's columns does not have another shape; it is rejected individually later.

    Raises:
        DataError: at least 1 % of the rows have another shape; the error has the location of the first.
    """
    same = CONVERSATIONS if main.name in CONVERSATIONS else (main.name,)
    is_annotated = main.record in (LabelledRecord, ScoredRecord, RatedRecord)
    needed = main.required[:-1] if is_annotated else main.required  # a row without its label is left out by itself
    differing = [
        number
        for number, (values, pattern) in enumerate(zip(renamed, shapes, strict=True))
        if (pattern.name not in same if pattern else not any(name in values for name in main.names))
        # a text without entities may look like a text without labels
        and not (main.name == "entities" and main.has_columns(tuple(values)))
        and not (is_annotated and all(any(name in values for name in field) for field in needed))
    ]
    if not differing or len(differing) * 100 < len(rows):
        return
    first, pattern = rows[differing[0]], shapes[differing[0]]
    looks = f"looks like `{pattern.name}`" if pattern else f"has the columns {quoted(first.values)}"
    raise DataError(
        f"{first.place}: this row {looks}, but most rows are `{main.name}`",
        f"{len(differing):,} of {len(rows):,} rows differ.",
        f"Split the file by shape, or set `data.shape={main.name}` to skip the others",
    )
