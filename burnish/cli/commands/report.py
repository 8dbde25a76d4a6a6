"""`burnish report RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from burnish.cli.arguments import Run, Runs
from burnish.cli.console import Console

Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="The page. [default: RUN/report.html]", show_default=False),
]


def report(console: Console, run: Run, out: Out = None, runs: Runs = "runs") -> None:
    """Write one page about a run: verdict, curves, rows, recipe."""
    from burnish.cli.results import short
    from burnish.report.page import write_report
    from burnish.runs.store import find_run

    path = write_report(find_run(run, runs), out)
    console.json({"report": str(path)})
    console.result(short(path))
