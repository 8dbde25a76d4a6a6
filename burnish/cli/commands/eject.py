"""`burnish eject RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.arguments import Run, Runs
from burnish.cli.console import Console

Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="The script. [default: RUN/eject.py]", show_default=False),
]


def eject(console: Console, run: Run, out: Out = None, runs: Runs = "runs") -> None:
    """Write a plain script that repeats a run without Burnish."""
    from burnish.cli.progress import Progress
    from burnish.cli.results import show_ejected
    from burnish.runs.store import find_run

    folder = find_run(run, runs)
    with Progress(console) as progress:
        from burnish.workflows.eject import eject as write

        script, rows = write(folder, out, [progress])
    show_ejected(console, script, rows)
