"""How a comparison of runs is shown: figures, differences, recipes, curves and the verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.cli.console import Console
from burnish.cli.plot import SEVERAL, is_steep, mark, plot
from burnish.cli.tables import Table
from burnish.report.numbers import number, with_interval

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
