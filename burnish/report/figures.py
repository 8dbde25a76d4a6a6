"""The figures of an evaluation, base against tuned, as people read them: in the terminal, on the page, on the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from burnish.report.numbers import change, with_interval

COLUMNS = ["figure", "base [95 %]", "tuned [95 %]", "change"]


def figure_cells(figures: Sequence[Mapping[str, Any]], all_rows: int | None = None) -> list[list[str]]:
    """One line a figure: its name, both models with their 95 % intervals, and what changed.

    Args:
        figures: maps with `name`, `is_share`, `rows`, and `base` and `tuned`, each a map of `value`, `low` and
            `high`. A share is shown in percent.
        all_rows: rows judged in all; a figure that was measured on others says on how many.
    """
    lines = []
    for figure in figures:
        is_share, base, tuned = figure["is_share"], figure["base"], figure["tuned"]
        on_others = f" ({figure['rows']:,} rows)" if figure["rows"] != all_rows else ""
        told = change(base["value"], tuned["value"], is_share)
        lines.append([figure["name"] + on_others, with_interval(base, is_share), with_interval(tuned, is_share), told])
    return lines


def figures_beside(evaluation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was measured beside the held-out rows, named by what it was measured on.

    Args:
        evaluation: as in `evaluation.json`; in those of earlier versions there is nothing beside.
    """
    told = [{**figure, "name": f"training rows: {figure['name']}"} for figure in evaluation.get("training", ())]
    general = evaluation.get("general")
    if general:
        told.append({**general["loss"], "name": f"{general['source']}: loss"})
    return told
