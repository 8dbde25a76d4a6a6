"""`burnish runs`, `burnish show RUN` and `burnish report RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from burnish.cli.console import Console
from burnish.cli.options import Run, Runs
from burnish.cli.table import Facts
from burnish.system.shell import quoted


def runs(console: Console, runs: Runs = "runs") -> None:
    """List the runs in the runs folder, oldest first."""
    from burnish.cli.results import runs_table
    from burnish.runs.description import describe_runs
    from burnish.runs.folder import list_runs
    from burnish.runs.sweep_folder import describe_sweep, list_sweeps

    found = describe_runs(list_runs(runs))
    sweeps = [describe_sweep(sweep) for sweep in list_sweeps(runs)]
    console.json({"runs": found, "sweeps": sweeps})
    if console.output.quiet:
        for run in found:
            console.result(run["name"])
        return
    if whole := [run for run in found if run["state"] != "damaged"]:
        console.table(runs_table(whole, is_full=console.output.verbose))
    elif not found and not sweeps:
        console.say(f"There are no runs in `{runs}` yet. Start with `burnish quickstart`.")
    for run in found:
        if run["state"] == "damaged":
            console.say(f"The run `{run['name']}` is damaged. {run['why']}")
    for sweep in sweeps:
        console.say(_sweep_line(sweep))


def _sweep_line(sweep: dict[str, Any]) -> str:
    """One sweep in a line, with the command that lists its runs."""
    if sweep["state"] == "damaged":
        return f"The sweep `{sweep['name']}` is damaged: {sweep['why']}."
    state = f"its winner is `{sweep['winner']}`" if sweep["winner"] else f"{sweep['done']} of them are trained"
    listed = f"burnish runs --runs {quoted(sweep['path'])}"
    return f"The sweep `{sweep['name']}` has {sweep['runs']} runs; {state}. List them with `{listed}`."


def show(console: Console, run: Run, runs: Runs = "runs") -> None:
    """Show what a run did, from its folder alone."""
    from burnish.cli.results import read_result, short, show_evaluation, show_next
    from burnish.runs.folder import find_run

    path = find_run(run, runs).path
    described = read_result(path)
    console.json(described)
    if console.output.quiet:
        console.result(Facts(_lines(described)).plain())
    console.facts(Facts(_lines(described)))
    if "evaluation" in described:
        console.say()
        show_evaluation(console, described["evaluation"])
    if described["result"]:
        show_next(console, path, described["recipe"])
    elif described["state"] == "can be resumed":
        console.say()
        console.say("next:", "bold")
        console.command(f"burnish resume {quoted(short(path))}")


def _lines(described: dict[str, Any]) -> list[tuple[str, str]]:
    """What is known about the run, one line each."""
    from burnish.cli.results import loss
    from burnish.report.figures import duration
    from burnish.runs.description import chain_in_words, data_in_words

    recipe = described["recipe"]
    lines = [
        ("run", described["path"]),
        ("state", f"{described['state']}, being {described['writer']}" if described["writer"] else described["state"]),
        ("started", described["started"]),
        ("model", recipe["model"]["name"]),
        ("data", data_in_words(recipe["data"]["path"])),
        ("task, method", f"{recipe['task']}, {recipe['method']}"),
        ("steps", f"{described['step']} of {described['total_steps']}" if described["total_steps"] else "none yet"),
        (
            "validation loss",
            f"{loss(described['validation_loss_before'])} -> {loss(described['validation_loss_best'])}",
        ),
    ]
    if chain := chain_in_words(described["manifest"]):
        lines.insert(4, ("goes on from", chain))
    if described["best_step"] is not None:
        lines.append(("best step", str(described["best_step"])))
    if described["seconds"] is not None:
        lines.append(("time", duration(described["seconds"])))
    if described["result"]:
        lines.append(("result", described["result"]))
    return lines


Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Where to write it. [default: RUN/report.html]", show_default=False),
]


def report(console: Console, run: Run, out: Out = None, runs: Runs = "runs") -> None:
    """Write an HTML page about a run: verdict, curves, rows, recipe."""
    from burnish.cli.results import short
    from burnish.report.page import write_report
    from burnish.runs.folder import find_run

    path = write_report(find_run(run, runs), out)
    console.json({"report": str(path)})
    console.result(short(path))
