"""Metrics and numbers as people read them: in the terminal, on the page, on the card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def number(value: float | None, is_share: bool = False) -> str:
    """A number, or the bound of an interval; a bound that too few rows leave open is `?`."""
    if value is None or not math.isfinite(value):
        return "?"
    if is_share:
        return f"{100 * value:.1f} %"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:,.0f}"


def with_interval(estimate: Mapping[str, float | None], is_share: bool) -> str:
    """A value with the ends of its 95 % interval, from a map of `value`, `low` and `high`: `93.1 % [90.0, 95.4]`."""
    low, high = (number(estimate[name], is_share).removesuffix(" %") for name in ("low", "high"))
    return f"{number(estimate['value'], is_share)} [{low}, {high}]"


def change(base: float | None, tuned: float | None, is_share: bool) -> str:
    """Shares change by points; other metrics in their own unit and relative to the base."""
    if base is None or tuned is None:
        return "?"
    difference = tuned - base
    if is_share:
        return f"{100 * difference:+.1f} points"
    relative = f" ({100 * difference / base:+.0f} %)" if base else ""
    return f"{'+' if difference >= 0 else '-'}{number(abs(difference))}{relative}"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 05 s` or `2 h 07 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def error_of(predicted: float, measured: float) -> str:
    """How far a plan was off, in percent of what was measured."""
    return f"{100 * (predicted / measured - 1):+.1f} %" if measured else "?"


def counted(count: int, one: str, several: str = "") -> str:
    """`1 row`, `1,234 rows`."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def row_of(evaluation: Mapping[str, Any]) -> str:
    """What one row of an evaluation is called: `test row`, `validation row`, or `row` for other data.

    Args:
        evaluation: as in `evaluation.json`; those of earlier versions do not name the split.
    """
    split = evaluation.get("split", "other")
    return "row" if split == "other" else f"{split} row"


COLUMNS = ["metric", "base [95 %]", "tuned [95 %]", "change"]


def figure_cells(figures: Sequence[Mapping[str, Any]], all_rows: int | None = None) -> list[list[str]]:
    """One line per metric: its name, both models with their 95 % intervals, and the change.

    Args:
        figures: maps with `name`, `is_share`, `rows`, and `base` and `tuned`, each a map of `value`, `low` and
            `high`. A share is shown in percent.
        all_rows: rows evaluated in all; a metric that was measured on others says on how many.
    """
    lines = []
    for figure in figures:
        is_share, base, tuned = figure["is_share"], figure["base"], figure["tuned"]
        on_others = f" ({figure['rows']:,} rows)" if figure["rows"] != all_rows else ""
        changed = change(base["value"], tuned["value"], is_share)
        lines.append(
            [figure["name"] + on_others, with_interval(base, is_share), with_interval(tuned, is_share), changed]
        )
    return lines


def figures_beside(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was measured beside these rows, named by what it was measured on.

    Args:
        evaluation: as in `evaluation.json`; in those of earlier versions there is nothing beside.
    """
    found = [{**figure, "name": f"training rows: {figure['name']}"} for figure in evaluation.get("training", ())]
    general = evaluation.get("general")
    if general:
        found.append({**general["loss"], "name": f"{general['source']}: loss"})
    return found


def shortened(text: str, most: int) -> str:
    """A text that is cut where it is longer, and says so."""
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} more characters)"
