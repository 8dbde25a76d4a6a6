"""`burnish evaluate RUN [DATA]`."""

from __future__ import annotations

from typing import Annotated

import typer

from burnish.cli.arguments import Run, Runs
from burnish.cli.console import Console

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
    from burnish.runs.store import find_run

    folder = find_run(run, runs)
    tasks = [task.strip() for task in (harness or "").split(",") if task.strip()]
    with Progress(console) as progress:
        from burnish.workflows.evaluate import evaluate as judge

        evaluation = judge(folder, data, [progress], answers, general, tasks).to_dict()
    console.json(evaluation)
    if not console.output.json:
        show_evaluation(console, evaluation)
