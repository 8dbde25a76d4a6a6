"""Metrics and numbers as people read them: in the terminal, on the page, on the card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.system.machine import memory_size


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
    for source in evaluation.get("sources", ()):
        found += [{**figure, "name": f"{source['name']}: {figure['name']}"} for figure in source["figures"]]
    general = evaluation.get("general")
    if general:
        found.append({**general["loss"], "name": f"{general['source']}: loss"})
    return found


def exported_cells(exported: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Column names, and a line for each exported file: its size, and its metrics with their distance from the model's.

    Args:
        exported: as in `export.json`.
    """
    names = [figure["name"] for figure in exported["files"][0]["figures"]]
    lines = [[file["name"], memory_size(file["bytes"]), *map(_beside, file["figures"])] for file in exported["files"]]
    return ["file", "size", *names], lines


def _beside(figure: Mapping[str, Any]) -> str:
    """`62.5 % (-1.6, -4.0 to +0.8)`: the value of the file, and how far it is from the model's."""
    scale, digits, unit = (100, 1, " %") if figure["is_share"] else (1, 3, "")
    value, change = scale * figure["tuned"]["value"], scale * figure["difference"]["value"]
    low, high = figure["difference"]["low"], figure["difference"]["high"]
    within = "" if low is None or high is None else f", {scale * low:+.{digits}f} to {scale * high:+.{digits}f}"
    return f"{value:.{digits}f}{unit} ({change:+.{digits}f}{within})"


SHOWN_ANSWERS = 5
"""Rows with what both models answer to them, where they are shown beside everything else."""


def shortened(text: str, most: int) -> str:
    """A text that is cut where it is longer, and says so."""
    return text if len(text) <= most else f"{text[:most]} … ({len(text) - most:,} more characters)"


def kept_step(kept: Mapping[str, Any] | None) -> str:
    """Which step's weights are the result, why, and how the last ones would have done; empty where it is unknown.

    Args:
        kept: as `describe_run` gives it.
    """
    if not kept:
        return ""
    text = f"Kept step {kept['step']:,} of {kept['last_step']:,}, because {kept['reason']}."
    mine, last = kept["validation"], kept["last_validation"]
    if kept["step"] == kept["last_step"] or not mine or not last:
        return text
    return f"{text} On the validation rows it has {_validated(mine)}; the last step would have had {_validated(last)}."


def _validated(line: Mapping[str, Any]) -> str:
    """The loss of a validation, and the task's main metric."""
    loss, name = f"a loss of {number(line['loss'])}", line["headline"]
    main = line["figures"].get(name) if name else None
    return loss if main is None else f"{loss} and {name} {number(main, bool(line['is_share']))}"
