"""`burnish evaluate RUN [DATA]`, `burnish compare RUN RUN...` and `burnish reproduce RUN`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.console import Console
from burnish.cli.options import BaseModel, Run, Runs, Trust
from burnish.cli.table import Table
from burnish.errors import BurnishError

if TYPE_CHECKING:
    from burnish.lineage.reproduction import Reproduction


Evaluated = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help="Rows to evaluate on, instead of the run's test rows.", show_default=False),
]
Checkpoint = Annotated[
    str, typer.Argument(metavar="RUN@STEP", help="A checkpoint that a run has kept.", show_default=False)
]
Answers = Annotated[
    int,
    typer.Option(
        "--answers", metavar="NUMBER", min=0, help="Maximum number of rows for which both models generate an answer."
    ),
]
General = Annotated[
    str | None,
    typer.Option(
        "--general",
        metavar="TEXTS",
        help="Texts that measure forgetting: a file, `bundled` or `none`, instead of the recipe's.",
        show_default=False,
    ),
]
Tasks = Annotated[
    str | None,
    typer.Option(
        "--harness",
        metavar="TASKS",
        help="Tasks of lm-evaluation-harness to run on both models as well, separated by commas.",
        show_default=False,
    ),
]


def evaluate(
    console: Console,
    run: Run,
    data: Evaluated = None,
    answers: Answers = 200,
    general: General = None,
    harness: Tasks = None,
    base_model: BaseModel = None,
    trust: Trust = False,
    runs: Runs = "runs",
) -> None:
    """Evaluate a run against its base on test rows."""
    from burnish.cli.progress import Progress
    from burnish.cli.results import show_evaluation
    from burnish.prepare.first_checks import check_sources
    from burnish.runs.folder import check_usable, find_run
    from burnish.runs.lock import check_free

    folder = find_run(run, runs, trust, takes_step=True)
    if data is None:
        check_free(folder.path, folder.path, "evaluated")
    else:
        check_sources(data)
    check_usable(folder)
    tasks = [task.strip() for task in (harness or "").split(",") if task.strip()]
    with Progress(console) as progress:
        from burnish.workflows.evaluate import evaluate as run_evaluation

        evaluation = run_evaluation(folder, data, [progress], answers, general, tasks, base_model).to_dict()
    console.json(evaluation)
    if not console.output.json:
        show_evaluation(console, evaluation, has_tables=True)


def accept(
    console: Console,
    run: Checkpoint,
    answers: Answers = 200,
    base_model: BaseModel = None,
    trust: Trust = False,
    runs: Runs = "runs",
) -> None:
    """Make a checkpoint the result of its run, finished or not."""
    from burnish.cli.progress import Progress
    from burnish.cli.results import show_result
    from burnish.runs.folder import find_run
    from burnish.runs.lock import check_free

    folder = find_run(run, runs, trust, takes_step=True)
    check_free(folder.path, folder.path, "accepted")
    with Progress(console) as progress:
        from burnish.workflows.accept import accept as run_acceptance
        from burnish.workflows.accept import check_acceptable

        check_acceptable(folder)
        accepted = run_acceptance(folder, [progress], answers, base_model)
    show_result(console, accepted.path, progress.num_warnings)


Names = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN RUN",
        help="Run folders, or their names. The others are compared with the first.",
        show_default=False,
    ),
]
Rows = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="Rows to evaluate on, instead of the test rows that all runs share.",
        show_default=False,
    ),
]


def compare(
    console: Console,
    names: Names,
    data: Rows = None,
    base_model: BaseModel = None,
    trust: Trust = False,
    runs: Runs = "runs",
) -> None:
    """Find out which of several runs is better, beyond noise.

    All are evaluated on the same rows, and none was trained on any of them. A difference counts only if it is larger
    than the noise of the rows and of the training; runs with several seeds measure the latter. The options that differ
    and the loss curves are shown too.
    """
    from burnish.cli.comparison import show_comparison
    from burnish.cli.progress import Progress
    from burnish.prepare.first_checks import check_sources
    from burnish.runs.folder import check_usable, find_run

    folders = [find_run(name, runs, trust, takes_step=True) for name in names]
    for folder in folders:
        check_usable(folder)
    if data is not None:
        check_sources(data)
    with Progress(console) as progress:
        from burnish.workflows.compare import compare as run_comparison

        comparison = run_comparison(folders, data, [progress], base_model).to_dict()
    console.json(comparison)
    if not console.output.json:
        show_comparison(console, comparison)


Steps = Annotated[
    int, typer.Option("--steps", metavar="NUMBER", min=1, help="How many of the first steps to train again.")
]
All = Annotated[bool, typer.Option("--all", metavar="", help="Train all steps again.")]


def reproduce(
    console: Console,
    run: Run,
    steps: Steps = 10,
    whole: All = False,
    base_model: BaseModel = None,
    trust: Trust = False,
    runs: Runs = "runs",
) -> None:
    """Train a run's first steps again and compare data and losses.

    Bit for bit if versions, machine and device are those of the run; otherwise within a tolerance, which is shown.
    Nothing is written into the run folder.
    """
    from burnish.cli.progress import Progress
    from burnish.runs.folder import find_run

    folder = find_run(run, runs, trust)
    with Progress(console) as progress:
        from burnish.workflows.reproduce import reproduce as run_reproduction

        made = run_reproduction(folder, None if whole else steps, [progress], base_model)
    console.json(made.to_dict())
    if not console.output.quiet:
        _show(console, made)
    console.result(made.verdict)
    if not made.passed:
        if made.advice:
            console.say(made.advice, "cyan")
        raise typer.Exit(BurnishError.exit_code)


def _show(console: Console, made: Reproduction) -> None:
    """What the run was made from, then its losses, each expected and found."""
    lines = [
        [one.name, one.expected, one.found, ": ".join(filter(None, (one.state, one.remark)))]
        for one in made.ingredients
    ]
    console.table(Table(["made from", "expected", "found", ""], lines))
    console.say()
    if made.steps:
        figures = [
            [str(pair.step), repr(pair.expected), repr(pair.found), f"{pair.difference:.1e}", _outcome(pair.is_same)]
            for pair in made.steps
        ]
        console.table(Table(["step", "expected loss", "found loss", "difference", ""], figures, is_numeric=True))
        console.say()
        console.say(made.rule)


def _outcome(is_same: bool) -> str:
    return "same" if is_same else "DIFFERENT"
