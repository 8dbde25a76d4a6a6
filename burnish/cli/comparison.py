"""`burnish compare` on a terminal: the verdict, metrics, differences, recipes and curves."""

from __future__ import annotations

import json
import math
import string
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.cli.console import Console
from burnish.cli.table import Table
from burnish.report.figures import number, with_interval

_LONGEST_VALUE = 40


def show_comparison(console: Console, comparison: Mapping[str, Any]) -> None:
    """Everything that `compare` found. With `--quiet`, the verdict alone.

    Args:
        console: to show it on.
        comparison: as `RunComparison.to_dict` returns it.
    """
    if console.output.quiet:
        console.result(comparison["verdict"])
        return
    first, stop, rest = comparison["verdict"].partition(". ")
    console.say(first + stop.rstrip(), "bold")
    if rest:
        console.say(rest)
    console.say()
    console.say(f"On {comparison['rows']:,} rows ({comparison['held_out']}):")
    console.table(metrics_table(comparison))
    if any(metric["pairs"] for metric in comparison["figures"]):
        console.say()
        console.table(differences_table(comparison, is_full=console.output.verbose))
    console.say()
    if comparison["options"]:
        console.table(options_table(comparison))
    else:
        console.say("The recipes are the same in every option.")
    _show_curves(console, comparison["curves"])
    for remark in comparison["remarks"]:
        console.say()
        console.say(remark)


def metrics_table(comparison: Mapping[str, Any]) -> Table:
    """Every metric of every run with the interval due to the choice of rows; the runs of a metric one below another."""
    rows = []
    for metric in comparison["figures"]:
        for position, run in enumerate(comparison["runs"]):
            name = metric["name"] if position == 0 else ""
            value = with_interval(metric["runs"][position], metric["is_share"])
            rows.append([name, f"{mark(position)}: {run['name']}", str(run["seed"]), value])
    return Table(["metric", "run", "seed", "value [95 %]"], rows)


def differences_table(comparison: Mapping[str, Any], is_full: bool = False) -> Table:
    """A line for each difference of two recipes, with its interval by all noise.

    Args:
        comparison: as `RunComparison.to_dict` returns it.
        is_full: whether to add the interval by the noise of the rows alone.
    """
    rows = []
    for metric in comparison["figures"]:
        for pair in metric["pairs"]:
            first, second = (comparison["labels"][pair[which]].replace("`", "") for which in ("first", "second"))
            rows.append(
                [
                    f"{metric['name']}: {second} - {first}",
                    with_sign(pair["change"], metric["is_share"]),
                    *([with_sign(pair["rows_alone"], metric["is_share"])] if is_full else []),
                    f"{pair['raised_chance']:.3f}",
                    "shown" if pair["is_shown"] else "not shown",
                ]
            )
    by_rows = ["rows alone [95 %]"] if is_full else []
    return Table(["difference", "by all noise [95 %]", *by_rows, "p", ""], rows, is_numeric=True)


def options_table(comparison: Mapping[str, Any]) -> Table:
    """A line for each option that differs, a column for each run."""
    rows = []
    for one in comparison["options"]:
        values = zip(one["values"], one["by_auto"], strict=True)
        rows.append([one["option"], *(_value(value) + (" (auto)" if by_auto else "") for value, by_auto in values)])
    return Table(["option", *(run["name"] for run in comparison["runs"])], rows)


def _show_curves(console: Console, curves: Sequence[Mapping[str, Any]]) -> None:
    """The validation losses of all runs over tokens, or over steps where tokens are not known."""
    axis = 1 if all(curve["points"] and curve["points"][-1][1] for curve in curves) else 0
    points = [[(point[axis], point[2]) for point in curve["points"]] for curve in curves]
    lines = plot(points)
    if not lines:
        return
    scale = ", on a log scale" if is_steep(points) else ""
    console.say()
    console.say(f"validation loss of each run{scale}, over {'tokens' if axis else 'steps'}:")
    for line in lines:
        console.say(line)
    named = "  ".join(f"{mark(position)}: {curve['run']}" for position, curve in enumerate(curves))
    console.say(f"{named}  {SEVERAL}: several")


def with_sign(change: Mapping[str, float | None], is_share: bool) -> str:
    """A difference with its interval; one of shares in percentage points."""
    value, low, high = (_signed(change[name], is_share) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _signed(value: float | None, is_share: bool) -> str:
    if value is None:
        return "?"
    if is_share:
        return f"{100 * value:+.1f}"
    return f"{'-' if value < 0 else '+'}{number(abs(value), False)}" if abs(value) >= 0.01 else f"{value:+.2g}"


def _value(value: Any) -> str:
    """The value of an option on one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else "..." + text[-_LONGEST_VALUE:]


MARKS = string.ascii_lowercase
"""One for each curve, in order."""
SEVERAL = "*"
"""Where points of several curves coincide."""
_STEEP = 10.0
"""Ratio of the highest to the lowest value from which the scale is logarithmic."""
_LABEL = 9

Point = tuple[float, float | None]


def mark(curve: int) -> str:
    """The character of a curve, by its number."""
    return MARKS[curve % len(MARKS)]


def is_steep(curves: Sequence[Sequence[Point]]) -> bool:
    """Whether the values are drawn on a log scale."""
    values = [y for curve in curves for _, y in _known(curve)]
    return bool(values) and min(values) > 0 and max(values) > _STEEP * min(values)


def plot(curves: Sequence[Sequence[Point]], width: int = 60, height: int = 12) -> list[str]:
    """The lines of a plot, with the ends of both axes labelled; empty if no curve has a point.

    Args:
        curves: points (x, y) of each; a y that is None or not finite is left out.
        width: of the area inside the axes, in characters.
        height: of the same, in lines.
    """
    points = [point for curve in curves for point in _known(curve)]
    if not points:
        return []
    scale = math.log if is_steep(curves) else float
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)
    field = [[" "] * width for _ in range(height)]
    for which, curve in enumerate(curves):
        for x, y in _known(curve):
            line = field[height - 1 - _place(scale(y), scale(low), scale(high), height)]
            column = _place(x, left, right, width)
            line[column] = mark(which) if line[column] in (" ", mark(which)) else SEVERAL
    labels = [""] * height
    labels[-1], labels[0] = f"{low:.3g}", f"{high:.3g}"
    lines = [f"{label:>{_LABEL}} |{''.join(line)}".rstrip() for label, line in zip(labels, field, strict=True)]
    begin, end = f"{left:,.0f}", f"{right:,.0f}"
    axis = " " * (_LABEL + 2) + begin + end.rjust(width - len(begin))
    return [*lines, f"{'':>{_LABEL}} +{'-' * width}", axis]


def _known(curve: Sequence[Point]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in curve if y is not None and math.isfinite(y)]


def _place(value: float, low: float, high: float, cells: int) -> int:
    """The cell, from 0, of a value between two ends."""
    return round((value - low) / (high - low) * (cells - 1)) if high > low else 0
