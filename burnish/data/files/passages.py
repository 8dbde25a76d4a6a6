"""Texts that have nothing to do with a run's task: on them it shows what a model has forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from itertools import islice
from pathlib import Path

from burnish.data.files.sources import find_sources
from burnish.data.rows.dataset import good_rows, make_records, refuse_empty
from burnish.data.rows.records import TextRecord
from burnish.data.rows.row import Rejected
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError
from burnish.recipe.schema import AUTO, BUNDLED, NONE

_MOST_ROWS = 10_000
"""Of a file of one's own; some sixty of them are judged."""


def is_own(general: str) -> bool:
    """Whether `evaluate.general` names texts of the user's own."""
    return general not in (AUTO, BUNDLED, NONE)


def read_passages(general: str) -> Sequence[TextRecord]:
    """The texts that `evaluate.general` names, not one of them taken to end where it does.

    Args:
        general: `bundled`, or a file, a folder or a hub dataset of running text.

    Raises:
        DataError: there is no text under that name.
    """
    name = general if is_own(general) else str(_bundled())
    rejected: list[Rejected] = []
    rows = list(islice(good_rows(find_sources(name).train, rejected), _MOST_ROWS))
    refuse_empty(rows, rejected, name)
    shape = detect_shape(rows, {})
    if shape.record is not TextRecord:
        raise DataError(
            f"`{name}` cannot be the general text of a run: its rows have the shape `{shape.name}`",
            "What a model forgets is looked for in running text.",
            "Name a file with a column `text`, or leave `evaluate.general` at `auto`",
        )
    records = make_records(rows, shape, rejected)
    refuse_empty(records, rejected, name)
    # Where a passage ends is chance, and a model tuned to answer would be judged by how soon it stops.
    return [replace(record, ends=False) for record in records if isinstance(record, TextRecord)]


def _bundled() -> Path:
    return Path(str(resources.files("burnish"))) / "assets" / "probe" / "general.jsonl"
