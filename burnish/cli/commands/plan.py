"""`burnish plan [DATA]`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.console import Console
from burnish.cli.options import RecipeFlags, SomeData
from burnish.cli.summary import RunSummary, may_go_on, parameters
from burnish.cli.table import Facts
from burnish.cli.table import Table as Drawn
from burnish.report.figures import duration
from burnish.system.machine import memory_size

if TYPE_CHECKING:
    from burnish.plan.time import MeasuredTime
    from burnish.workflows.plan import Plan

On = Annotated[
    str | None,
    typer.Option("--on", metavar="DEVICE", help="Plan for this device instead of the one here, e.g. `RTX 4070`."),
]
Memory = Annotated[
    str | None,
    typer.Option("--memory", metavar="SIZE", help="Memory of a device that is not in the table, e.g. `12GB`."),
]
Gpus = Annotated[int, typer.Option("--gpus", metavar="NUMBER", help="Devices per machine.")]
Nodes = Annotated[int, typer.Option("--nodes", metavar="NUMBER", help="Number of machines.")]
Table = Annotated[
    bool, typer.Option("--table", metavar="", help="Show which sizes of model fit on which devices, by method.")
]


def plan(
    console: Console,
    flags: RecipeFlags,
    data: SomeData = None,
    on: On = None,
    memory: Memory = None,
    gpus: Gpus = 1,
    nodes: Nodes = 1,
    table: Table = False,
) -> None:
    """Plan a run without training: method, memory and time.

    Memory is simulated, with no weights loaded. Time is measured in three real steps where rows and model are here, and
    estimated for other devices. Without DATA, the plan assumes rows that fill the context.
    """
    from burnish.cli.progress import Progress
    from burnish.recipe.load import load_recipe

    if table:
        _show_table(console)
        return
    loaded = load_recipe(data or None, flags.values, flags.sets, needs_data=False)
    with Progress(console) as progress:
        from burnish.prepare.first_checks import check_rows

        check_rows(loaded.recipe)  # the model may be one of which only the config is known
        from burnish.workflows.plan import Place
        from burnish.workflows.plan import plan as make_plan

        made = make_plan(loaded.recipe, Place(on, memory, gpus, nodes), [progress])
    console.json(made.to_dict())
    if console.output.quiet:
        console.result(f"{made.method} {memory_size(made.peak)}")
        return
    show_plan(console, made)


def show_plan(console: Console, made: Plan) -> None:
    """The plan: what was chosen, memory as a sum, and time with its bounds."""
    console.facts(_choices(made))
    console.say()
    rows = [[name, f"{memory_size(size):>8}", made.sources.get(name, "")] for name, size in made.memory.items()]
    rows.append(["total", f"{memory_size(made.peak):>8}", f"of {memory_size(made.room)} available"])
    console.table(Drawn(["memory at the peak", "    size", ""], rows))
    if made.offloaded:
        console.say()
        console.say(
            f"In the CPU memory of each machine: {memory_size(made.offloaded)} for weights, gradients and moments, or "
            "for the complete model in each process while it is loaded."
        )
    if made.rule_of_thumb and console.output.verbose:
        console.say()
        console.say(
            f"The rule of thumb of 16 bytes per parameter gives {memory_size(made.rule_of_thumb)}: weights, gradients "
            "and Adam's two moments in fp32. It omits activations, logits and whatever is not a tensor; and it counts "
            "every gradient, although in a step of a single micro-batch most are freed before the peak."
        )
    console.say()
    console.facts(Facts([("time", _time(made)), ("work", f"{_operations(made.flops)} per simulated step")]))
    if not console.output.verbose:
        console.say("Add `--verbose` to see every choice with its reason.", "dim")


def _choices(made: Plan) -> Facts:
    """What was chosen; of made-up rows, nothing that follows from their number."""
    chosen = dict(RunSummary(made.recipe).facts().pairs)
    chosen["model"] += f", {parameters(made.parameters)}"
    if made.steps is None:
        chosen = {name: chosen[name] for name in ("model", "method", "context") if name in chosen}
    elif "epochs" in chosen:
        chosen["epochs"] += f" ({made.steps:,} steps)"
    device = "cpu, this machine" if made.recipe.model.device == "cpu" else made.device
    chosen["device"] = f"{made.ranks} x {device}" if made.ranks > 1 else device
    return Facts(list(chosen.items()))


def _operations(count: int) -> str:
    """Floating-point operations in TFLOP, or GFLOP where there are fewer."""
    return f"{count / 1e12:,.1f} TFLOP" if count >= 1e12 else f"{count / 1e9:,.1f} GFLOP"


def _time(made: Plan) -> str:
    if made.measured is not None:
        return _measured(made, made.measured)
    if made.step is None:
        return f"unknown {made.why_no_time}"
    speed = made.step_tokens / made.step.seconds
    text = (
        f"{made.step.seconds:.2g} s per step of {made.step_tokens:,} tokens ({made.step.low:.2g} to "
        f"{made.step.high:.2g} s), about {speed:,.0f} tokens/s"
    )
    if made.steps is not None:
        run = made.step.times(made.steps)
        text += f"; {made.steps:,} steps: {duration(run.seconds)} ({duration(run.low)} to {duration(run.high)})"
    return f"{text}; estimated from the device's specifications"


def _measured(made: Plan, measured: MeasuredTime) -> str:
    when = time.strftime(" (%Y-%m-%d %H:%M)", time.localtime(made.measured_at)) if made.is_earlier else ""
    return (
        f"{measured.step:.2g} s per step, {measured.tokens_per_second:,.0f} tokens/s including padding; "
        f"{made.steps:,} steps: {duration(measured.run)}{may_go_on(measured.run, measured.longest)}, and "
        f"{duration(measured.evaluation)} of evaluation; {made.time_source}{when}"
    )


def _show_table(console: Console) -> None:
    """Full / LoRA / int8 / QLoRA by 7B / 13B / 70B."""
    from burnish.workflows.plan import plan_table

    rows = plan_table()
    console.json({"rows": [row.to_dict() for row in rows]})
    cells = [(row.model, row.method, memory_size(row.bytes), row.fits_on or "no single device") for row in rows]
    console.table(Drawn(("model", "method", "memory", "fits on"), cells))
    console.say("Simulated: one row of 1,024 tokens at a time, activations recomputed, AdamW, bf16 arithmetic.")
