"""`burnish evaluate RUN [DATA]`, `burnish compare RUN RUN...` and `burnish reproduce RUN`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.console import Console
from burnish.cli.options import Run, Runs
from burnish.errors import BurnishError

if TYPE_CHECKING:
    from burnish.lineage.reproduction import Reproduction


Judged = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help="Rows to judge on, instead of those the run held out.", show_default=False),
]
Answers = Annotated[
    int, typer.Option("--answers", metavar="NUMBER", min=0, help="Most rows that both models answer in words.")
]
General = Annotated[
    str | None,
    typer.Option(
        "--general",
        metavar="TEXTS",
        help="Texts that show what the run forgot: a file, `bundled` or `none`, instead of the recipe's.",
        show_default=False,
    ),
]
Tasks = Annotated[
    str | None,
    typer.Option(
        "--harness",
        metavar="TASKS",
        help="Tasks of lm-evaluation-harness, by name with commas between, that both models do besides.",
        show_default=False,
    ),
]


def evaluate(
    console: Console,
    run: Run,
    data: Judged = None,
    answers: Answers = 200,
    general: General = None,
    harness: Tasks = None,
    runs: Runs = "runs",
) -> None:
    """Judge a run against its base on held-out rows, with intervals."""
    from burnish.cli.progress import Progress
    from burnish.cli.results import show_evaluation
    from burnish.runs.folder import find_run

    folder = find_run(run, runs)
    tasks = [task.strip() for task in (harness or "").split(",") if task.strip()]
    with Progress(console) as progress:
        from burnish.workflows.evaluate import evaluate as judge

        evaluation = judge(folder, data, [progress], answers, general, tasks).to_dict()
    console.json(evaluation)
    if not console.output.json:
        show_evaluation(console, evaluation)


Names = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN RUN",
        help="Run folders, or their names; the first is what the others are held against.",
        show_default=False,
    ),
]
Rows = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="Rows to judge on, instead of those that all of the runs held out.",
        show_default=False,
    ),
]


def compare(console: Console, names: Names, data: Rows = None, runs: Runs = "runs") -> None:
    """Tell which of several runs is better, beyond the noise.

    They are judged on the same rows, which none of them was trained on. A difference is shown only where it stands
    beyond the noise of the rows and that of the training; runs of several seeds tell the latter. Also told: the options
    that differ, and the curves over one another.
    """
    from burnish.cli.comparison import show_comparison
    from burnish.cli.progress import Progress
    from burnish.runs.folder import find_run

    folders = [find_run(name, runs) for name in names]
    with Progress(console) as progress:
        from burnish.workflows.compare import compare as judge

        told = judge(folders, data, [progress]).to_dict()
    console.json(told)
    if not console.output.json:
        show_comparison(console, told)


Steps = Annotated[int, typer.Option("--steps", metavar="NUMBER", min=1, help="Train so many of its first steps again.")]
All = Annotated[bool, typer.Option("--all", metavar="", help="Train all of its steps again.")]


def reproduce(console: Console, run: Run, steps: Steps = 10, whole: All = False, runs: Runs = "runs") -> None:
    """Run a run's first steps again: the same data, the same losses.

    Bit for bit where versions, machine and device are those of the run, else within a tolerance that is told. Nothing
    is written into the run folder.
    """
    from burnish.cli.progress import Progress
    from burnish.runs.folder import find_run

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
    from burnish.cli.results import Table

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
