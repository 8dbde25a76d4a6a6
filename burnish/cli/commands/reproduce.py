"""`burnish reproduce RUN`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.arguments import Run, Runs
from burnish.cli.console import Console
from burnish.errors import BurnishError

if TYPE_CHECKING:
    from burnish.workflows.reproduction import Reproduction

Steps = Annotated[int, typer.Option("--steps", metavar="NUMBER", min=1, help="Train so many of its first steps again.")]
All = Annotated[bool, typer.Option("--all", metavar="", help="Train all of its steps again.")]


def reproduce(console: Console, run: Run, steps: Steps = 10, whole: All = False, runs: Runs = "runs") -> None:
    """Run a run's first steps again: the same data, the same losses.

    Bit for bit where versions, machine and device are those of the run, else within a tolerance that is told. Nothing
    is written into the run folder.
    """
    from burnish.cli.progress import Progress
    from burnish.runs.store import find_run

    folder = find_run(run, runs)
    with Progress(console) as progress:
        from burnish.workflows.reproduce import reproduce as run_again

        made = run_again(folder, None if whole else steps, [progress])
    console.json(made.to_dict())
    if not console.output.quiet:
        _show(console, made)
    console.result(made.verdict)
    if not made.passed:
        if made.advice:
            console.say(made.advice, "cyan")
        raise typer.Exit(BurnishError.exit_code)


def _show(console: Console, made: Reproduction) -> None:
    """What it was made from, then the losses, each expected and found."""
    from burnish.cli.tables import Table

    lines = [
        [one.name, one.expected, one.found, ": ".join(filter(None, (one.state, one.remark)))]
        for one in made.ingredients
    ]
    console.table(Table(["made from", "expected", "found", ""], lines))
    console.say()
    if made.steps:
        figures = [
            [str(pair.step), repr(pair.expected), repr(pair.found), f"{pair.difference:.1e}", _told(pair.is_same)]
            for pair in made.steps
        ]
        console.table(Table(["step", "expected loss", "found loss", "difference", ""], figures, is_figures=True))
        console.say()
        console.say(made.rule)


def _told(is_same: bool) -> str:
    return "same" if is_same else "APART"
