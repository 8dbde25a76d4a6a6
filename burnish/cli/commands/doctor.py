"""`burnish doctor`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import typer

from burnish.cli.arguments import Runs
from burnish.cli.console import Console
from burnish.errors import MachineError

if TYPE_CHECKING:
    from burnish.workflows.doctor import Diagnosis
    from burnish.workflows.inventory import Inventory


def doctor(console: Console, runs: Runs = "runs") -> None:
    """Tell what this machine has, and what it lacks."""
    from burnish.workflows.doctor import diagnose
    from burnish.workflows.inventory import take_inventory

    inventory = take_inventory(runs)
    diagnosis = diagnose(inventory)
    packages = [
        {**dataclasses.asdict(package), "is_required": package.is_required, "state": package.state}
        for package in inventory.packages
    ]
    told = dataclasses.asdict(inventory) | {"packages": packages} | dataclasses.asdict(diagnosis)
    console.json(told | {"can_train": diagnosis.can_train})
    if not console.output.quiet:
        _show(console, inventory, diagnosis)
    console.result(diagnosis.verdict)
    if not diagnosis.can_train:
        raise typer.Exit(MachineError.exit_code)


def _show(console: Console, inventory: Inventory, diagnosis: Diagnosis) -> None:
    """What is here, then what is lacking, each with what to do."""
    from burnish.cli.tables import Table

    for name, value in _lines(inventory):
        console.say(f"{name + ':':<14}{value}")
    console.say()
    rows = [[part.name, part.version or "-", part.wanted or "any", part.state] for part in inventory.packages]
    console.table(Table(["package", "version", "made for", "state"], rows))
    console.say()
    for number, lack in enumerate(diagnosis.lacks, 1):
        console.say(f"{number}. {lack.what}{' (required)' if lack.is_fatal else ''}")
        console.say(f"   {lack.fix}", "cyan")
    if diagnosis.lacks:
        console.say()


def _lines(inventory: Inventory) -> list[tuple[str, str]]:
    from burnish.machine import gigabytes

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
        lines.append(("accelerator", f"{about}, does {device.precision} well"))
    if not inventory.torch.accelerators:
        lines.append(("accelerator", "none that torch sees"))
    models = f"{len(inventory.cached_models)} models in {inventory.cache}"
    lines += [("disk", f"{sizes[2]} free for `{inventory.runs}`"), ("hub", models)]
    return lines
