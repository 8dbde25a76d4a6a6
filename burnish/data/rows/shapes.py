"""Shapes: which columns a row has, and what they mean. Detected over all rows, and made into records here."""

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
    """Columns of the file that are not read, sorted."""
    notes: tuple[str, ...] = ()
    """What one should know of how the rows were read, in sentences."""

    @property
    def name(self) -> str:
        """Name of the shape, as it is printed."""
        return self.pattern.name

    @property
    def record(self) -> type[Record]:
        """What such rows mean."""
        return self.pattern.record

    def to_record(self, row: Row) -> Record:
        """What the row means.

        Raises:
            RowError: the row cannot be learned from, or has another shape; says why.
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
    """Find the shape that the rows share.

    Args:
        rows: all rows; every one is looked at.
        columns: field -> column of the file, from the recipe. Rows must then have a shape that reads those fields.
        wanted: the name of a shape, or `auto`.

    Raises:
        DataError: no known shape, several shapes in one file, or a column map or shape name that does not fit.
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
            notes.append(f"`{name}` is not read as a label: no row has one, or every row another; texts are learned.")
            main = plain
    ignored = {str(key) for keys in {tuple(values) for values in renamed} for key in set(keys) - main.reads(keys)}
    return Shape(main, column_map, tuple(sorted(ignored)), tuple(notes))


def candidates(columns: Mapping[str, str], wanted: str) -> list[Pattern]:
    """The patterns that the rows may have: the wanted one, or those that read every mapped field.

    Raises:
        DataError: there is no such shape, or none reads these fields together.
    """
    if wanted != AUTO and wanted not in BY_NAME:
        raise DataError(
            f"`data.shape: {wanted}` is not a shape",
            f"The shapes are {', '.join(BY_NAME)}",
            did_you_mean(wanted, BY_NAME) or "Use one of these, or `auto`",
        )
    patterns = PATTERNS if wanted == AUTO else (BY_NAME[wanted],)
    fitting = [pattern.narrowed(columns) for pattern in patterns if set(columns) <= set(pattern.names)]
    if not fitting:
        who = "no shape reads all of" if wanted == AUTO else f"the shape `{wanted}` does not read all of"
        raise DataError(
            f"{who} {quoted(columns)}, which `data.columns` maps",
            describe_patterns(columns),
            "Map the columns of one shape only",
        )
    return fitting


def refuse_mixed(
    rows: Sequence[Row], renamed: Sequence[Mapping[str, Any]], shapes: Sequence[Pattern | None], main: Pattern
) -> None:
    """Rows of another shape are a mistake of the file, unless they are so few that they are mistakes of their own.

    A row with only part of the main shape's columns is no other shape: it is rejected by itself, later.

    Raises:
        DataError: 1 % of the rows or more have another shape; the first is named.
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
        f"{len(differing):,} of {len(rows):,} rows differ",
        f"Split the file by shape, or set `data.shape={main.name}` to leave the others out",
    )


_OTHER_HALF = {"chosen": "rejected", "rejected": "chosen"}


def unknown_shape(file: str, found: Sequence[str], wanted: str) -> DataError:
    """The error for columns that mean nothing to us."""
    what, why = f"`{file}` has no known shape", describe_patterns(found)
    halves = [name for name in ("chosen", "rejected") if name in found]
    if len(halves) == 1:
        why = f"`{halves[0]}` is half of a pair; the other half, `{_OTHER_HALF[halves[0]]}`, is not there"
    if wanted != AUTO:
        what, why = f"`{file}` is not `{wanted}`", f"That needs the columns {BY_NAME[wanted].needs}"
    return DataError(f"{what}: its columns are {quoted(found)}", why, f"Say which column holds what: {MAP_EXAMPLE}")
