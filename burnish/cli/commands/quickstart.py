"""`burnish quickstart`."""

from __future__ import annotations

from typing import Annotated

import typer

from burnish.cli.arguments import Runs
from burnish.cli.console import Console

Seed = Annotated[int, typer.Option("--seed", metavar="NUMBER", min=0, help="Seed of the split, order and adapter.")]
Task = Annotated[
    str,
    typer.Option("--task", metavar="TASK", help="`chat`, `preference`, `classify`, `tag` or `span`."),
]


def quickstart(console: Console, task: Task = "chat", runs: Runs = "runs", seed: Seed = 0) -> None:
    """Fine-tune a bundled model on bundled data: before and after."""
    from burnish.cli.progress import Progress
    from burnish.cli.results import show_result

    with Progress(console) as progress:
        from burnish.workflows.quickstart import quickstart as run_quickstart

        run = run_quickstart(task, runs, seed, [progress])
    show_result(console, run.path)
