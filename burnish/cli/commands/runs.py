"""`burnish runs`, `burnish show RUN` and `burnish report RUN`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from burnish.cli.console import Console
from burnish.cli.options import Run, Runs


def runs(console: Console, runs: Runs = "runs") -> None:
    """List the runs in the runs folder, oldest first."""
    from burnish.cli.results import runs_table
    from burnish.runs.folder import describe_run, list_runs

    found = [describe_run(run) for run in list_runs(runs)]
    console.json({"runs": found})
    if console.output.quiet:
        for run in found:
            console.result(run["name"])
    elif found:
        console.table(runs_table(found))
    else:
        console.say(f"There are no runs in `{runs}` yet. Begin with `burnish quickstart`.")


def show(console: Console, run: Run, runs: Runs = "runs") -> None:
    """Tell what a run did, from its folder alone."""
    from burnish.cli.results import read_result, short, show_evaluation, show_next
    from burnish.runs.folder import find_run

    path = find_run(run, runs).path
    told = read_result(path)
    console.json(told)
    for name, value in _lines(told):
        console.result(f"{name + ':':<15}{value}")
    if "evaluation" in told:
        console.say()
        show_evaluation(console, told["evaluation"])
    if told["result"]:
        show_next(console, path, told["recipe"]["task"])
    elif told["state"] == "can be resumed":
        console.say()
        console.say(f"next: burnish resume {shlex.quote(short(path))}")


def _lines(told: dict[str, Any]) -> list[tuple[str, str]]:
    """What is known of the run, one line each."""
    from burnish.cli.results import loss
    from burnish.report.figures import duration

    recipe = told["recipe"]
    lines = [
        ("run", told["path"]),
        ("state", told["state"]),
        ("started", told["started"]),
        ("model", recipe["model"]["name"]),
        ("data", recipe["data"]["path"]),
        ("task, method", f"{recipe['task']}, {recipe['method']}"),
        ("steps", f"{told['step']} of {told['total_steps']}" if told["total_steps"] else "none yet"),
        ("held-out loss", f"{loss(told['validation_loss_before'])} -> {loss(told['validation_loss_best'])}"),
    ]
    if told["best_step"] is not None:
        lines.append(("best step", str(told["best_step"])))
    if told["seconds"] is not None:
        lines.append(("time", duration(told["seconds"])))
    if told["result"]:
        lines.append(("result", told["result"]))
    return lines


Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="The page. [default: RUN/report.html]", show_default=False),
]


def report(console: Console, run: Run, out: Out = None, runs: Runs = "runs") -> None:
    """Write one page about a run: verdict, curves, rows, recipe."""
    from burnish.cli.results import short
    from burnish.report.page import write_report
    from burnish.runs.folder import find_run

    path = write_report(find_run(run, runs), out)
    console.json({"report": str(path)})
    console.result(short(path))
