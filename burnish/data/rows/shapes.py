"""Detects the shape of a file's rows from all of them, and makes records from rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.labels.rows import are_labels
from burnish.data.rows.columns import ColumnMap, did_you_mean, quoted
from burnish.data.rows.patterns import (
    BY_NAME,
    CONVERSATIONS,
    PATTERNS,
    Pattern,
    describe_patterns,
    pattern_of,
    patterns_of,
    pick,
)
from burnish.data.rows.records import Record
from burnish.data.rows.row import Row, RowError
from burnish.errors import DataError

AUTO = "auto"
MAP_EXAMPLE = "`--set data.columns.prompt=COLUMN --set data.columns.completion=COLUMN`"


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of a file's rows: its name, the kind of record they are, and how a row becomes a record."""

    pattern: Pattern
    column_map: ColumnMap
    ignored: tuple[str, ...]
    """Columns of the file that are not used, sorted."""
    notes: tuple[str, ...] = ()
    """Sentences for the user about how the rows were read."""

    @property
    def name(self) -> str:
        """Name of the shape."""
        return self.pattern.name

    @property
    def record(self) -> type[Record]:
        """What such rows mean."""
        return self.pattern.record

    def to_record(self, row: Row) -> Record:
        """The record of a row.

        Raises:
            RowError: the row is unusable or has another shape.
        """
        values = self.column_map.rename(row.values)
        pattern = self.pattern
        missing = [field for field in pattern.required if not any(name in values for name in field)]
        if missing:
            other = pattern_of(values, PATTERNS)
            seems = f"; this row looks like `{other.name}`" if other else ""
            raise RowError(f"there is no column `{missing[0][0]}`{seems}")
        return pattern.make_record(values, row.place)


def detect_shape(rows: Sequence[Row], columns: Mapping[str, str], wanted: str = AUTO) -> Shape:
    """Detects the common shape of the rows.

    Args:
        rows: all rows; every one is checked.
        columns: field -> column of the file, from the recipe. The shape must then use those fields.
        wanted: the name of a shape, or `auto`.

    Raises:
        DataError: no known shape, several shapes in one file, or a wrong column map or shape name.
    """
    found = sorted({str(key) for keys in {tuple(row.values) for row in rows} for key in keys})
    column_map = ColumnMap(columns)
    column_map.check(found)
    patterns = candidates(columns, wanted)
    renamed = [column_map.rename(row.values) for row in rows]
    shapes = list(patterns_of(renamed, patterns))
    counts = Counter(pattern for pattern in shapes if pattern is not None)
    if not counts:
        raise unknown_shape(rows[0].file, found, wanted)
    main = counts.most_common(1)[0][0]
    if wanted == AUTO:
        refuse_mixed(rows, renamed, shapes, main)
    notes = [*dict.fromkeys(row.note for row in rows if row.note), *main.make_notes(renamed)]
    plain = BY_NAME["text"]
    if main.name == "labelled-text" and wanted == AUTO and not columns and plain.fits(renamed[0]):
        name, _ = pick(renamed[0], main.required[-1])
        if not are_labels(renamed, main.required[-1]):
            notes.append(
                f"`{name}` is not used as a label: it is missing or different in every row. "
                "The rows are read as plain text."
            )
            main = plain
    ignored = {str(key) for keys in {tuple(values) for values in renamed} for key in set(keys) - main.reads(keys)}
    return Shape(main, column_map, tuple(sorted(ignored)), tuple(notes))


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
    differing = [
        number
        for number, (values, pattern) in enumerate(zip(renamed, shapes, strict=True))
        if (pattern.name not in same if pattern else not any(name in values for name in main.names))
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


_OTHER_HALF = {"chosen": "rejected", "rejected": "chosen"}


def unknown_shape(file: str, found: Sequence[str], wanted: str) -> DataError:
    """The error for columns that match no shape."""
    what, why = f"`{file}` has no known shape", describe_patterns(found)
    halves = [name for name in ("chosen", "rejected") if name in found]
    if len(halves) == 1:
        why = f"`{halves[0]}` is one half of a pair, but the other half, `{_OTHER_HALF[halves[0]]}`, is missing."
    if wanted != AUTO:
        what, why = f"`{file}` is not `{wanted}`", f"That shape needs the columns {BY_NAME[wanted].needs}."
    return DataError(f"{what}: its columns are {quoted(found)}", why, f"Map the columns: {MAP_EXAMPLE}")
