"""`burnish compare` on a terminal: metrics, differences, recipes, curves and the verdict."""

from __future__ import annotations

import json
import math
import string
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.cli.console import Console
from burnish.cli.results import Table
from burnish.report.figures import number, with_interval

_LONGEST_VALUE = 40


def show_comparison(console: Console, told: Mapping[str, Any]) -> None:
    """Everything that `compare` found, as `RunComparison.to_dict` tells it. With `--quiet`, the verdict alone."""
    if not console.output.quiet:
        console.say(f"On {told['rows']:,} rows ({told['held_out']}):")
        console.table(figures_table(told))
        if any(figure["pairs"] for figure in told["figures"]):
            console.say()
            console.table(pairs_table(told))
        console.say()
        if told["options"]:
            console.table(options_table(told))
        else:
            console.say("The recipes are the same in every option.")
        _show_curves(console, told["curves"])
        for remark in told["remarks"]:
            console.say()
            console.say(remark)
        console.say()
    console.result(told["verdict"])


def figures_table(told: Mapping[str, Any]) -> Table:
    """A line a run: every figure with its interval by the choice of rows."""
    figures = told["figures"]
    columns = ["run", "seed", *(f"{figure['name']} [95 %]" for figure in figures)]
    rows = [
        [
            f"{mark(position)}: {run['name']}",
            str(run["seed"]),
            *(with_interval(figure["runs"][position], figure["is_share"]) for figure in figures),
        ]
        for position, run in enumerate(told["runs"])
    ]
    return Table(columns, rows, is_figures=True)


def pairs_table(told: Mapping[str, Any]) -> Table:
    """A line a difference of two recipes: against all noise, and against that of the rows alone."""
    rows = []
    for figure in told["figures"]:
        for pair in figure["pairs"]:
            first, second = (told["labels"][pair[which]].replace("`", "") for which in ("first", "second"))
            rows.append(
                [
                    f"{figure['name']}: {second} - {first}",
                    _with_sign(pair["change"], figure["is_share"]),
                    _with_sign(pair["rows_alone"], figure["is_share"]),
                    f"{pair['raised_chance']:.3f}",
                    "shown" if pair["is_shown"] else "not shown",
                ]
            )
    return Table(["difference", "by all noise [95 %]", "by rows alone [95 %]", "chance", ""], rows, is_figures=True)


def options_table(told: Mapping[str, Any]) -> Table:
    """A line an option that differs, a column a run."""
    rows = []
    for one in told["options"]:
        values = zip(one["values"], one["by_auto"], strict=True)
        rows.append([one["option"], *(_value(value) + (" (auto)" if by_auto else "") for value, by_auto in values)])
    return Table(["option", *(run["name"] for run in told["runs"])], rows)


def _show_curves(console: Console, curves: Sequence[Mapping[str, Any]]) -> None:
    """The held-out losses of all runs over tokens, or over steps where tokens are not known."""
    axis = 1 if all(curve["points"] and curve["points"][-1][1] for curve in curves) else 0
    drawn = [[(point[axis], point[2]) for point in curve["points"]] for curve in curves]
    lines = plot(drawn)
    if not lines:
        return
    scale = ", by its logarithm" if is_steep(drawn) else ""
    console.say()
    console.say(f"loss of each run's own held-out rows{scale}, over {'tokens' if axis else 'steps'}:")
    for line in lines:
        console.say(line)
    named = "  ".join(f"{mark(position)}: {curve['run']}" for position, curve in enumerate(curves))
    console.say(f"{named}  {SEVERAL}: several")


def _with_sign(change: Mapping[str, float | None], is_share: bool) -> str:
    """A difference with its interval, in points where it is one of shares."""
    value, low, high = (_signed(change[name], is_share) for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _signed(value: float | None, is_share: bool) -> str:
    if value is None:
        return "?"
    if is_share:
        return f"{100 * value:+.1f}"
    return f"{'-' if value < 0 else '+'}{number(abs(value), False)}" if abs(value) >= 0.01 else f"{value:+.2g}"


def _value(value: Any) -> str:
    """An option's value on one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else "..." + text[-_LONGEST_VALUE:]


MARKS = string.ascii_lowercase
"""One for each curve, in turn."""
SEVERAL = "*"
"""Where points of several curves fall on one place."""
_STEEP = 10.0
"""From this ratio of the highest to the lowest value on, values are drawn by their logarithms."""
_LABEL = 9

Point = tuple[float, float | None]


def mark(curve: int) -> str:
    """The character of a curve, by its number."""
    return MARKS[curve % len(MARKS)]


def is_steep(curves: Sequence[Sequence[Point]]) -> bool:
    """Whether the values are drawn by their logarithms."""
    values = [y for curve in curves for _, y in _known(curve)]
    return bool(values) and min(values) > 0 and max(values) > _STEEP * min(values)


def plot(curves: Sequence[Sequence[Point]], width: int = 60, height: int = 12) -> list[str]:
    """The lines of a plot, with the ends of both axes told; empty where no curve has a point.

    Args:
        curves: points (x, y) of each; a y that is None or not finite is left out.
        width: characters of the field.
        height: lines of the field.
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
