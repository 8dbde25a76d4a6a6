"""Labels in columns of their own: 0 and 1, yes and no, or marks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from burnish.data.labels.cells import (
    ColumnReading,
    are_marked,
    as_flag,
)
from burnish.data.rows.packed import mapped
from burnish.data.rows.patterns import BY_NAME, LABEL
from burnish.data.rows.row import RowError, quoted
from burnish.data.rows.settled import Asked, Settled
from burnish.data.rows.typed import settings
from burnish.errors import DataError
from burnish.recipe.schema import AUTO

Values = Mapping[str, Any]


def with_label_columns(rows: Sequence[Values], asked: Asked) -> tuple[Settled, Sequence[Values]]:
    """The rows with the labels of `annotation.columns` in one column, where the user or an earlier run named some.

    Raises:
        DataError: one of the columns does not exist.
    """
    names = asked.annotation.columns
    if names == AUTO or not names:
        return Settled(BY_NAME["text"]), rows
    settled = label_columns(list(names), rows)
    (reading,) = settled.readings

    def prepare(values: Values) -> Values:
        try:
            return reading.prepare(values)
        except RowError:
            # left out, and named, when it is made a record
            return {**{key: value for key, value in values.items() if key not in names}, LABEL[1]: []}

    return replace(settled, notes=(), choices=()), mapped(rows, prepare)


def label_columns(names: Sequence[str], rows: Sequence[Values]) -> Settled:
    """Labels in columns of 0 and 1.

    Raises:
        DataError: one of the columns does not exist.
    """
    known = {key for values in rows for key in values}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(
            f"there is no column `{unknown[0]}`, but `annotation.columns` names it",
            f"The columns are {quoted(sorted(map(str, known)))}.",
            "Name the columns of 0 and 1, one for each label",
        )
    several = Counter(sum(as_flag(values.get(name)) is True for name in names) for values in rows)
    what = "marks" if are_marked(names, rows) else "0 and 1"
    note = (
        f"{quoted(names, 6)} are taken as labels, a column of {what} for each. To choose others: "
        f"`{settings('annotation.columns', names[:2])}`; to learn the text alone: `--set data.shape=text`."
    )
    if set(several) == {1}:
        note += (
            " Every row has exactly one: to make them classes that exclude each other, `classify.multi_label=false`."
        )
    if never := [name for name in names if all(as_flag(values.get(name)) is not True for values in rows)]:
        note += f" {quoted(never, 6)} {'is' if len(never) == 1 else 'are'} marked in no row, and so no label to learn."
    choice = ("annotation.columns", list(names), "columns of 0 and 1 beside a text")
    reading = ColumnReading(tuple(names), LABEL[1], are_marked(names, rows))
    return Settled(BY_NAME["labelled-text"], (reading,), (note,), (choice,))
