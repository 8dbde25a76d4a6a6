"""`burnish runs`."""

from __future__ import annotations

from burnish.cli.arguments import Runs
from burnish.cli.console import Console


def runs(console: Console, runs: Runs = "runs") -> None:
    """List the runs in the runs folder, oldest first."""
    from burnish.cli.tables import runs_table
    from burnish.runs.store import describe_run, list_runs

    found = [describe_run(run) for run in list_runs(runs)]
    console.json({"runs": found})
    if console.output.quiet:
        for run in found:
            console.result(run["name"])
    elif found:
        console.table(runs_table(found))
    else:
        console.say(f"There are no runs in `{runs}` yet. Begin with `burnish quickstart`.")
