"""`burnish resume RUN`."""

from __future__ import annotations

from burnish.cli.arguments import Run, Runs
from burnish.cli.console import Console


def resume(console: Console, run: Run, runs: Runs = "runs") -> None:
    """Go on with a run that was stopped, as if it never had been."""
    from burnish.cli.progress import Progress
    from burnish.cli.results import show_result
    from burnish.runs.store import find_run

    folder = find_run(run, runs)
    with Progress(console) as progress:
        from burnish.workflows.resume import resume as resume_training

        resumed = resume_training(folder, [progress])
    show_result(console, resumed.path)
