"""`burnish compare RUN RUN...`."""

from __future__ import annotations

from typing import Annotated

import typer

from burnish.cli.arguments import Runs
from burnish.cli.console import Console

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
    from burnish.cli.progress import Progress
    from burnish.cli.run_comparison import show_comparison
    from burnish.runs.store import find_run

    folders = [find_run(name, runs) for name in names]
    with Progress(console) as progress:
        from burnish.workflows.compare import compare as judge

        told = judge(folders, data, [progress]).to_dict()
    console.json(told)
    if not console.output.json:
        show_comparison(console, told)
