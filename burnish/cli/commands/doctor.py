"""`burnish doctor` and `burnish selftest [DATA]`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.console import Console
from burnish.cli.options import RecipeFlags, Runs
from burnish.cli.processes import launch, place_for
from burnish.cli.table import Facts, Table
from burnish.errors import MachineError

if TYPE_CHECKING:
    from burnish.selftest.workbench import RuleLine, RuleReport
    from burnish.system.inventory import Inventory
    from burnish.system.place import Place
    from burnish.workflows.doctor import Diagnosis


Together = Annotated[
    int | None,
    typer.Option(
        "--processes",
        metavar="NUMBER",
        min=2,
        help="Instead, test whether this many processes can train together: their sums, speed, clocks and versions.",
        show_default=False,
    ),
]


def doctor(console: Console, runs: Runs = "runs", processes: Together = None) -> None:
    """Show what this machine has, and what is missing."""
    if (place := place_for(processes)) is not None:
        _show_exchange(console, place)
        return
    if processes is not None:
        raise typer.Exit(launch(console, processes))
    from burnish.system.inventory import take_inventory
    from burnish.workflows.doctor import diagnose

    inventory = take_inventory(runs)
    diagnosis = diagnose(inventory)
    packages = [
        {**dataclasses.asdict(package), "is_required": package.is_required, "state": package.state}
        for package in inventory.packages
    ]
    found = dataclasses.asdict(inventory) | {"packages": packages} | dataclasses.asdict(diagnosis)
    console.json(found | {"can_train": diagnosis.can_train})
    if not console.output.quiet:
        _show(console, inventory, diagnosis)
    console.result(diagnosis.verdict)
    if not diagnosis.can_train:
        raise typer.Exit(MachineError.exit_code)


def _show_exchange(console: Console, place: Place) -> None:
    """Measures in one of several processes; the main one shows what was found."""
    from burnish.engine.process import join
    from burnish.models.device import choose_device
    from burnish.workflows.exchange import measure_exchange

    with join(place) as process:
        report = measure_exchange(process, process.device(choose_device("auto")))
    if place.is_main:
        console.json(report.to_dict())
        console.facts(Facts(report.lines()))
        for problem in report.problems:
            console.warn(problem)
        console.result(report.verdict)
    if not report.can_train:
        raise typer.Exit(MachineError.exit_code)


def _show(console: Console, inventory: Inventory, diagnosis: Diagnosis) -> None:
    """What is here, then what is missing, each with what to do; with `--verbose`, every package."""
    packages = inventory.packages
    num_ok = sum(part.state == "ok" for part in packages)
    console.facts(Facts([*_lines(inventory), ("packages", f"{num_ok} of {len(packages)} are as required")]))
    shown = [part for part in packages if part.state != "ok" or console.output.verbose]
    if shown:
        rows = [[part.name, part.version or "-", part.wanted or "any", part.state] for part in shown]
        console.say()
        console.table(Table(["package", "version", "required", "state"], rows))
    for number, lack in enumerate(diagnosis.lacks, 1):
        console.say()
        console.say(f"{number}. {lack.what}{' (required)' if lack.is_fatal else ''}", "bold")
        console.facts(Facts([("  fix", lack.fix)]))
    console.say()


def _lines(inventory: Inventory) -> list[tuple[str, str]]:
    from burnish.system.machine import gigabytes

    machine = inventory.machine
    features = ", ".join(machine.processor_features)
    sizes = [
        "unknown" if size is None else gigabytes(size)
        for size in (machine.memory_bytes, inventory.free_memory_bytes, inventory.free_disk_bytes)
    ]
    lines = [
        ("cores", str(machine.cores)),
        ("memory", f"{sizes[0]}, of which {sizes[1]} free"),
        ("processor", f"{machine.processor}, {f'bf16 with {features}' if features else 'no bf16 instructions'}"),
        ("python", f"{machine.python} on {machine.platform}"),
    ]
    for device in inventory.torch.accelerators:
        capability = f", capability {device.capability}" if device.capability else ""
        about = f"{device.name} ({device.kind}), {gigabytes(device.memory_bytes)}{capability}"
        lines.append(("accelerator", f"{about}, best in {device.precision}"))
    if not inventory.torch.accelerators:
        lines.append(("accelerator", "none found by torch"))
    models = f"{len(inventory.cached_models)} models in {inventory.cache}"
    lines += [("disk", f"{sizes[2]} free for `{inventory.runs}`"), ("hub", models)]
    return lines


MaybeData = Annotated[
    str | None,
    typer.Argument(metavar="DATA", help="Rows to measure on instead of bundled ones, or a recipe.yaml."),
]


def selftest(console: Console, flags: RecipeFlags, data: MaybeData = None) -> None:
    """Measure the rules of arithmetic on your model, rows and machine.

    Packed equals unpacked, accumulated equals one big batch, resumed equals uninterrupted, generation gets the same
    tokens as training, and more: each with the measured difference and its tolerance. The method is LoRA unless you
    name another. Nothing is written.
    """
    from burnish.cli.progress import Progress
    from burnish.recipe.load import load_recipe

    loaded = load_recipe(data, flags.values, flags.sets, needs_data=False)
    with Progress(console) as progress:
        from burnish.prepare.first_checks import check_inputs

        check_inputs(loaded.recipe)
        from burnish.workflows.selftest import selftest as measure

        report = measure(loaded.recipe, [progress])
    console.json(report.to_dict())
    if not console.output.quiet:
        _show_rules(console, report)
    console.result(report.verdict)
    if report.failed:
        raise typer.Exit(report.exit_code)


def _show_rules(console: Console, report: RuleReport) -> None:
    """A table of the rules, and below it what each compared or why it was skipped."""
    console.say(
        f"`{report.model}` on {report.device} in {report.precision}, task `{report.task}`, method `{report.method}`, "
        f"{report.rows} examples:"
    )
    rows = [[line.rule, *_figures(line), _outcome(line)] for line in report.lines]
    console.table(Table(["rule", "difference", "tolerance", "holds"], rows, is_numeric=True))
    console.say()
    for line in report.lines:
        console.say(f"{line.rule}: {line.why}", "dim")
    if report.precision != "fp32":
        console.say()
        console.say("For tighter tolerances:")
        console.command("burnish selftest --set model.precision=fp32")
    console.say(f"measured in {report.seconds:.0f} s")


def _figures(line: RuleLine) -> tuple[str, str]:
    if line.difference is None:
        return "-", "-"
    bound = "> " if line.is_least else ""
    return _number(line.difference), bound + _number(line.tolerance)


def _number(value: float) -> str:
    """Whole numbers as they are, everything else to two digits."""
    return f"{value:.0f}" if value == int(value) else f"{value:.1e}"


def _outcome(line: RuleLine) -> str:
    return {True: "yes", False: "NO", None: "skipped"}[line.passed]
