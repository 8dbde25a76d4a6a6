"""`burnish merge RUN` and `burnish eject RUN`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from burnish.cli.console import Console
from burnish.cli.options import BaseModel, Run, Runs, Trust

Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help="Where to write it. [default: RUN/merged]", show_default=False),
]
Format = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"],
    typer.Option("--precision", help="Number format of the merged weights; `auto` keeps that of the base model."),
]


def merge(
    console: Console,
    run: Run,
    out: Out = None,
    precision: Format = "auto",
    base_model: BaseModel = None,
    trust: Trust = False,
    runs: Runs = "runs",
) -> None:
    """Merge a run's adapter into its base and verify the result."""
    from burnish.cli.progress import Progress
    from burnish.cli.results import show_merged
    from burnish.runs.atomic import check_target
    from burnish.runs.folder import find_run, result_of
    from burnish.runs.lock import check_free

    folder = find_run(run, runs, trust)
    target = out or folder.path / "merged"
    check_free(folder.path, target, "merged")
    result_of(folder)
    check_target(target)
    with Progress(console) as progress:
        from burnish.workflows.merge import merge as run_merge

        merged = run_merge(folder, out, precision, [progress], base_model).to_dict()
    console.json(merged)
    if not console.output.json:
        show_merged(console, merged)


Script = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE", help="Where to write it. [default: RUN/eject.py]", show_default=False),
]


def eject(
    console: Console,
    run: Run,
    out: Script = None,
    base_model: BaseModel = None,
    trust: Trust = False,
    runs: Runs = "runs",
) -> None:
    """Write a plain script that repeats a run without Burnish."""
    from burnish.cli.progress import Progress
    from burnish.cli.results import show_ejected
    from burnish.runs.atomic import check_target
    from burnish.runs.folder import find_run, result_of
    from burnish.runs.lock import check_free

    folder = find_run(run, runs, trust)
    check_free(folder.path, out or folder.path, "ejected")
    result_of(folder)
    check_target(out or folder.path / "eject.py")
    with Progress(console) as progress:
        from burnish.workflows.eject import eject as write_script

        script, rows = write_script(folder, out, [progress], base_model)
    show_ejected(console, script, rows)
