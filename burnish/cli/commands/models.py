"""`burnish models`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.console import Console
from burnish.cli.summary import parameters
from burnish.cli.table import Table
from burnish.report.figures import duration
from burnish.system.machine import memory_size
from burnish.system.shell import quoted

if TYPE_CHECKING:
    from burnish.workflows.models import ListedModel

Task = Annotated[
    str | None,
    typer.Option("--task", metavar="TASK", help="Only models that can be trained for this task.", show_default=False),
]


def models(console: Console, task: Task = None) -> None:
    """List base models that fit this machine, and which to take next.

    Bundled ones, those in folders below this one, those in the hub's cache, and public ones. Memory is that of a step
    of one row with an adapter, simulated. The time for a million tokens is a lower bound, from a matrix product timed
    here; `burnish plan DATA --model MODEL` measures.
    """
    from burnish.cli.progress import Progress

    with Progress(console) as progress:
        from burnish.workflows.models import list_models

        listing = list_models(task, progress)
    console.json(listing.to_dict())
    fitting = [model for model in listing.models if model.fits is not False]
    if console.output.quiet:
        for model in fitting:
            console.result(model.name)
        return
    columns = ("model", "where", "size", "licence", "memory", "1 M tokens", "method")
    console.table(Table(columns, [_cells(model) for model in fitting]))
    console.say()
    left_out = len(listing.models) - len(fitting)
    console.say(f"{memory_size(listing.room)} of memory is available for a run.")
    if left_out:
        console.say(f"{left_out} more need more than that; `--json` lists them, too.")
    toys = [model.name for model in fitting if model.where == "bundled"]
    if toys:
        console.say(f"{' and '.join(f'`{name}`' for name in toys)}: toys of 2 M parameters, for trying things out.")
    if listing.next_model:
        console.say()
        console.say("next:", "bold")
        console.command(f"burnish train DATA --model {quoted(listing.next_model)}")


def _cells(model: ListedModel) -> list[str]:
    count = "?" if model.parameters is None else parameters(model.parameters)
    at_least = "?" if model.least_seconds is None else f"> {duration(model.least_seconds)}"
    terms = f"{model.licence or '?'}{' (gated)' if model.is_gated else ''}"
    memory = "?" if model.memory is None else memory_size(model.memory)
    size = f"{count.removesuffix(' parameters')}, {memory_size(model.bytes)}"
    return [model.name, model.where, size, terms, memory, at_least, model.method or "?"]
