"""What no single figure says: per-class tables and confusion matrices."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricTable:
    """A titled table, each row as long as `columns`; shares are numbers from 0 to 1, counts are integers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int, ...], ...]
