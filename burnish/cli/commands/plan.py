"""`burnish plan [DATA]`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.console import Console
from burnish.cli.options import RecipeFlags
from burnish.report.figures import duration
from burnish.system.machine import memory_size

if TYPE_CHECKING:
    from burnish.plan.time import MeasuredTime
    from burnish.workflows.plan import Plan

MaybeData = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help="A file, a folder, the name of a hub dataset, or a recipe.yaml."),
]
On = Annotated[
    str | None,
    typer.Option("--on", metavar="DEVICE", help="Plan for this device instead of the one here, e.g. `RTX 4070`."),
]
Memory = Annotated[
    str | None, typer.Option("--memory", metavar="SIZE", help="Memory of a device that no table knows, e.g. `12GB`.")
]
Gpus = Annotated[int, typer.Option("--gpus", metavar="NUMBER", help="Such devices in one machine.")]
Nodes = Annotated[int, typer.Option("--nodes", metavar="NUMBER", help="Such machines.")]
Table = Annotated[
    bool, typer.Option("--table", metavar="", help="Which sizes of model fit onto which devices, by method.")
]


def plan(
    console: Console,
    flags: RecipeFlags,
    data: MaybeData = None,
    on: On = None,
    memory: Memory = None,
    gpus: Gpus = 1,
    nodes: Nodes = 1,
    table: Table = False,
) -> None:
    """Tell what a run would take, and why: method, memory, time.

    Memory is simulated, with nothing loaded. Time is measured in three real steps where rows and model are here, and
    estimated for devices that are not. Without DATA, rows that fill the context are made up.
    """
    from burnish.cli.progress import Progress
    from burnish.recipe.load import load_recipe

    if table:
        _show_table(console)
        return
    loaded = load_recipe(data, flags.values, flags.sets, needs_data=False)
    with Progress(console) as progress:
        from burnish.workflows.plan import Place
        from burnish.workflows.plan import plan as make_plan

        made = make_plan(loaded.recipe, Place(on, memory, gpus, nodes), [progress])
    console.json(made.to_dict())
    if console.output.quiet:
        console.result(f"{made.method} {memory_size(made.peak)}")
        return
    show_plan(console, made)


def show_plan(console: Console, made: Plan) -> None:
    """The plan in words: memory as the sum that it is, and time with its bounds."""
    devices = f"{made.ranks} x {made.device}" if made.ranks > 1 else made.device
    console.say(f"{made.model} ({made.parameters / 1e9:.2f} B parameters), `{made.method}`, on {devices}", "bold")
    console.say()
    for name, size in made.memory.items():
        source = f"   ({made.sources[name]})" if name in made.sources else ""
        console.say(f"  {name:<22}{memory_size(size):>10}{source}")
    console.say(f"  {'together':<22}{memory_size(made.peak):>10}   of {memory_size(made.room)} that may be used")
    if made.rule_of_thumb:
        console.say()
        console.say(
            f"The textbook's 16 bytes a parameter make {memory_size(made.rule_of_thumb)}: weights, gradients and "
            "Adam's two moments in fp32. It leaves out activations, logits and what is not tensors; and it counts all "
            "gradients, though where a step is one micro-batch they are not all there while activations are."
        )
    console.say()
    console.say(_time_told(made))


def _time_told(made: Plan) -> str:
    tera = f"{made.flops / 1e12:,.1f} TFLOP in the simulated step"
    if made.measured is not None:
        return _measured_told(made, made.measured)
    if made.step is None:
        return f"time: not told {made.untold}; {tera}"
    speed = made.step_tokens / made.step.seconds
    told = (
        f"time: {made.step.seconds:.2g} s a step of {made.step_tokens:,} tokens ({made.step.low:.2g} to "
        f"{made.step.high:.2g} s), about {speed:,.0f} tokens/s"
    )
    if made.steps is None:
        return f"{told}; from the device's figures, not measured"
    run = made.step.times(made.steps)
    return (
        f"{told}; {made.steps:,} steps: {duration(run.seconds)} ({duration(run.low)} to {duration(run.high)}), "
        "from the device's figures, not measured"
    )


def _measured_told(made: Plan, measured: MeasuredTime) -> str:
    when = time.strftime(" (%Y-%m-%d %H:%M)", time.localtime(made.measured_at)) if made.is_earlier else ""
    return (
        f"time: {measured.step:.2g} s a step, {measured.tokens_per_second:,.0f} tokens/s with padding; {made.steps:,} "
        f"steps: {duration(measured.run)} with validations, without checkpoints; {made.time_source}{when}"
    )


def _show_table(console: Console) -> None:
    """Full / LoRA / int8 / QLoRA by 7B / 13B / 70B."""
    from burnish.cli.results import Table as Drawn
    from burnish.workflows.plan import plan_table

    rows = plan_table()
    console.json({"rows": [row.to_dict() for row in rows]})
    cells = [(row.model, row.method, memory_size(row.bytes), row.fits_on or "no single device") for row in rows]
    console.table(Drawn(("model", "method", "memory", "fits on"), cells))
    console.say("One row of 1,024 tokens at a time, activations computed again, AdamW, bf16 arithmetic; simulated.")
