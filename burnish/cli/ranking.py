"""`burnish sweep` on a terminal: the verdict, the ranked table, and the evaluation of the winner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from burnish.cli.comparison import with_sign
from burnish.cli.console import Console
from burnish.cli.results import short, show_evaluation, show_next
from burnish.cli.table import Facts, Table
from burnish.recipe.grid import in_words
from burnish.report.figures import duration, with_interval
from burnish.runs.description import describe_run
from burnish.runs.folder import RunFolder
from burnish.system.shell import quoted


def show_sweep(console: Console, sweep: Mapping[str, Any], num_warnings: int = 0) -> None:
    """Everything that a sweep found. With `--quiet`, the folder of the winner alone.

    Args:
        console: to show it on.
        sweep: as `Sweep.to_dict` returns it.
        num_warnings: shown while it trained.
    """
    console.json(sweep)
    winner = Path(sweep["path"]) / sweep["winner"]
    if console.output.quiet:
        console.result(short(winner))
        return
    ranking = sweep["ranking"]
    first, stop, rest = ranking["verdict"].partition(". ")
    console.say(first + stop.rstrip(), "bold")
    if rest:
        console.say(rest)
    console.say()
    console.say(f"On {ranking['rows']:,} validation rows:")
    console.table(ranked_table(sweep))
    for remark in ranking["remarks"]:
        console.say(remark)
    if said := preparation(sweep):
        console.say(said)
    console.say()
    if sweep["evaluation"]:
        console.say(f"The winner, `{sweep['winner']}`, against its base:", "bold")
        show_evaluation(console, sweep["evaluation"])
        console.say()
    facts = [
        ("sweep", short(Path(sweep["path"]))),
        ("winner", short(winner)),
        ("report", short(RunFolder(winner).report)),
    ]
    facts += [("warnings", f"{num_warnings}, shown above and in the reports")] if num_warnings else []
    console.facts(Facts(facts))
    show_next(console, winner, describe_run(RunFolder(winner))["recipe"])
    others = [run["path"] for run in sweep["runs"] if run["name"] != sweep["winner"] and run["is_done"]]
    if others:
        console.command(f"burnish evaluate {quoted(short(Path(others[0])))}   (the others are not evaluated)")


def ranked_table(sweep: Mapping[str, Any]) -> Table:
    """A line for each setting, the best first: its values, kept step, metric, difference to the best, and time."""
    ranking = sweep["ranking"]
    runs = {run["name"]: run for run in sweep["runs"]}
    options = list(ranking["settings"][0]["setting"])
    names = [option.rpartition(".")[2] for option in options]
    shown = [name if names.count(name) == 1 else option for name, option in zip(names, options, strict=True)]
    lines = []
    for one in ranking["settings"]:
        own = [runs[name] for name in one["runs"]]
        seconds = sum(run["seconds"] + run["preparation"] for run in own)
        change = "best" if one["change"] is None else with_sign(one["change"], ranking["is_share"])
        chance = "" if one["raised_chance"] is None else f"{one['raised_chance']:.3f}"
        verdict = "" if one["change"] is None else "worse" if one["is_shown"] else "not shown"
        steps = ", ".join(str(run["step"]) for run in own)
        values = [in_words(one["setting"][option]) for option in options]
        value = with_interval(one["value"], ranking["is_share"])
        lines.append([str(one["rank"]), *values, steps, value, change, chance, verdict, duration(seconds)])
    columns = ["rank", *shown, "kept step", f"{ranking['metric']} [95 %]", "minus the best [95 %]", "p", "", "time"]
    return Table(columns, lines, is_numeric=True)


def preparation(sweep: Mapping[str, Any]) -> str:
    """What sharing the preparation saved, in a sentence; empty with one run."""
    seconds = [run["preparation"] for run in sweep["runs"] if run["preparation"]]
    if len(seconds) < 2 or sweep["saved_seconds"] <= 0:
        return ""
    later = sum(seconds[1:]) / (len(seconds) - 1)
    return (
        f"Preparation: {seconds[0]:.1f} s for the first run, {later:.1f} s for each of the others, which share it; "
        f"that saved {sweep['saved_seconds']:.1f} s."
    )
