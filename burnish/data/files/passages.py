"""General texts outside a run's task, which show how much a model has forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from itertools import islice
from pathlib import Path

from burnish.data.files.sources import find_sources
from burnish.data.rows.dataset import refuse_empty
from burnish.data.rows.reading import good_rows
from burnish.data.rows.records import TextRecord
from burnish.data.rows.row import Rejected
from burnish.data.rows.settled import Asked
from burnish.data.rows.shapes import detect_shape
from burnish.errors import DataError
from burnish.recipe.schema import AUTO, BUNDLED, NONE

_MAX_ROWS = 10_000
"""Rows read from the user's own file; about sixty of them are evaluated."""
_ASKED = Asked(records=(TextRecord,))
"""The text alone is wanted, so no other column is asked about."""


def is_own(general: str) -> bool:
    """Whether `evaluate.general` names the user's own texts."""
    return general not in (AUTO, BUNDLED, NONE)


def read_passages(general: str) -> Sequence[TextRecord]:
    """The texts that `evaluate.general` names, with `ends` set to false.

    Args:
        general: `bundled`, or a file, a folder or a hub dataset of running text.

    Raises:
        DataError: there are no texts under that name.
    """
    name = general if is_own(general) else str(_bundled())
    rejected: list[Rejected] = []
    rows = list(islice(good_rows(find_sources(name).train, rejected), _MAX_ROWS))
    refuse_empty(rows, rejected, name)
    shape = detect_shape(rows, {}, asked=_ASKED)
    if shape.record is not TextRecord:
        raise DataError(
            f"`{name}` cannot be used as general text: its rows have the shape `{shape.name}`",
            "Forgetting is measured on running text.",
            "Give a file with a column `text`, or leave `evaluate.general` at `auto`",
        )
    records = list(shape.to_records(rows, rejected))
    refuse_empty(records, rejected, name)
    # Passages end at arbitrary places: with EOS in the loss, the metric would depend on how soon a tuned model stops.
    return [replace(record, ends=False) for record in records if isinstance(record, TextRecord)]


def _bundled() -> Path:
    return Path(str(resources.files("burnish"))) / "assets" / "probe" / "general.jsonl"
