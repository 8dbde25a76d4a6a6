"""`burnish show RUN`."""

from __future__ import annotations

import shlex
from typing import Any

from burnish.cli.arguments import Run, Runs
from burnish.cli.console import Console


def show(console: Console, run: Run, runs: Runs = "runs") -> None:
    """Tell what a run did, from its folder alone."""
    from burnish.cli.results import read_result, short, show_evaluation, show_next
    from burnish.runs.store import find_run

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
    from burnish.cli.tables import loss
    from burnish.report.numbers import duration

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
