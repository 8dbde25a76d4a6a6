"""`burnish plan`: what a run would take, here or on a device that is not here, and why. Nothing is trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from burnish.errors import InputError, MachineError
from burnish.models.device import choose_device, choose_precision
from burnish.models.kind import model_kind
from burnish.plan.budget import Budget, budget_here, budget_of
from burnish.plan.devices import Device, custom_device, find_device, parse_memory
from burnish.plan.fit import Fit
from burnish.plan.resolve import Resolver, total_steps
from burnish.plan.roofline import TimeEstimate, estimate_time
from burnish.plan.sharding import Shards, communication_seconds, sharded_time
from burnish.recipe.schema import AUTO, Recipe
from burnish.runs.event_log import EventLog
from burnish.runs.events import Listener, Resolved
from burnish.workflows.imagined import find_for_planning, imagined_records
from burnish.workflows.planning import Outlook, encode_to_fit
from burnish.workflows.preparation import Rows, Setting, make_plan, name_model, read_rows, settle

_BY_DATA = ("task", "batch.tokens", "train.epochs", "lora.rank", "evaluate.answers", "evaluate.max_new_tokens")
"""Options that follow from the rows; nothing is said of them where the rows are made up."""
_TORCH_TYPES = {"cuda": "cuda", "rocm": "cuda", "mps": "mps"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a plan is for: this machine, or a device that is not here."""

    on: str | None = None
    """A device of the table."""
    memory: str | None = None
    """Memory of the device, for one that is not in the table, or that has another amount."""
    gpus: int = 1
    nodes: int = 1


@dataclass(slots=True)
class Plan:
    """What a run would take."""

    model: str
    parameters: int
    task: str
    method: str
    recipe: Recipe
    choices: list[Resolved] = field(default_factory=list)
    device: str = ""
    memory: dict[str, int] = field(default_factory=dict)
    """Bytes by what they are for, on one device; they add up to the peak."""
    sources: dict[str, str] = field(default_factory=dict)
    """Where the figures that are not simulated come from."""
    room: int = 0
    """Bytes that the run may take there."""
    rule_of_thumb: int = 0
    """What the textbook says: bytes a parameter, without activations."""
    step: TimeEstimate | None = None
    """Time of a step; None where it cannot be told."""
    step_tokens: int = 0
    steps: int | None = None
    """Steps of the whole run; None without data."""
    flops: int = 0
    """Floating-point operations of a step."""
    ranks: int = 1

    @property
    def peak(self) -> int:
        """All bytes."""
        return sum(self.memory.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        run = None if self.step is None or self.steps is None else asdict(self.step.times(self.steps))
        return {
            "model": self.model,
            "parameters": self.parameters,
            "task": self.task,
            "method": self.method,
            "choices": [asdict(one) for one in self.choices],
            "device": self.device,
            "devices": self.ranks,
            "memory": self.memory,
            "memory_sources": self.sources,
            "peak": self.peak,
            "room": self.room,
            "rule_of_thumb": self.rule_of_thumb,
            "step": None if self.step is None else asdict(self.step),
            "step_tokens": self.step_tokens,
            "step_flops": self.flops,
            "steps": self.steps,
            "run": run,
        }


def plan(recipe: Recipe, place: Place, listeners: Iterable[Listener] = ()) -> Plan:
    """Plans a run.

    Args:
        recipe: may hold `auto`; without `data.path`, made-up rows fill the context.
        place: where it would run.
        listeners: told of every event.

    Raises:
        InputError: recipe, data, model or device is wrong.
        MachineError: nothing fits.
    """
    choices: list[Resolved] = []
    has_data = bool(recipe.data.path)
    emit = EventLog(None, listeners)

    def tell(choice: Resolved) -> None:
        if has_data or choice.option not in _BY_DATA:
            choices.append(choice)
            emit(choice)

    resolver = Resolver(recipe, tell)
    if has_data:
        records = read_rows(recipe, emit)
        name_model(resolver, records)
        model = find_for_planning(resolver.recipe.model, emit)
    else:
        model = find_for_planning(_named(resolver.recipe).model, emit)
        records = imagined_records(model_kind(model.config))
    resolver.fill("data.shape", records.shape.name, "the columns of the rows", is_told=has_data)
    device, budget, known = _place(recipe, place)
    precision = _precision(resolver.recipe, device, known)
    setting = settle(resolver, records, model, device, precision, emit)
    shards = Shards(place.gpus, place.nodes)
    rows, outlook = encode_to_fit(
        resolver, setting, records, budget, recipe.data.context == AUTO, emit, has_data, shards
    )
    if outlook.fit is None:
        raise MachineError(
            f"`{model.location.name}` cannot be planned for",
            "torch cannot simulate a step of it, as told above.",
            "Train a few steps with `--set train.max_steps=3` to see what it takes",
        )
    return _describe(
        Plan(
            model.location.name,
            outlook.facts.parameters,
            setting.task.name,
            setting.method.name,
            resolver.recipe,
            choices,
        ),
        setting,
        rows if has_data else None,
        outlook,
        outlook.fit,
        known,
        shards,
    )


def _named(recipe: Recipe) -> Recipe:
    if recipe.model.name == AUTO:
        raise InputError(
            "there is neither DATA nor a model to plan for",
            "",
            "Name a file of rows, or a model with `--model`",
        )
    return recipe


def _place(recipe: Recipe, place: Place) -> tuple[torch.device, Budget, Device | None]:
    """The device, the memory that may be used on it, and what the table knows of it; None for this machine."""
    if place.gpus < 1 or place.nodes < 1:
        raise InputError("`--gpus` and `--nodes` begin at 1", "", "Leave them out for one device")
    if place.on is None and place.memory is None:
        if place.gpus * place.nodes > 1:
            raise InputError(
                "`--gpus` and `--nodes` need a device to be of", "", "Name it, for example `--on A100-80GB --gpus 8`"
            )
        device = choose_device(recipe.model.device)
        return device, budget_here(device, recipe.model.memory), None
    memory = None if place.memory is None else parse_memory(place.memory)
    known = custom_device(memory or 0) if place.on is None else find_device(place.on)
    budget = budget_of(known, memory)
    return torch.device(_TORCH_TYPES[known.kind]), budget, known


def _precision(recipe: Recipe, device: torch.device, known: Device | None) -> tuple[str, str]:
    if known is None:
        return choose_precision(recipe.model.precision, device)
    if recipe.model.precision != AUTO:
        return recipe.model.precision, "as asked"
    return known.precision, f"what {known.name} does well"


def _describe(
    plan: Plan, setting: Setting, rows: Rows | None, outlook: Outlook, fit: Fit, known: Device | None, shards: Shards
) -> Plan:
    """Fills in memory and time."""
    budget, seen = outlook.budget, fit.simulation
    parts = seen.peak.parts
    plan.device, plan.room, plan.ranks = budget.device, budget.room, shards.ranks
    plan.memory = {name: size for name, size in parts.items() if size}
    plan.memory["allocator"] = int(sum(parts.values()) * budget.allocator_share)
    plan.memory |= {one.name: one.bytes for one in budget.overheads}
    plan.memory = {name: size for name, size in plan.memory.items() if size}
    plan.sources = {one.name: one.source for one in budget.overheads}
    plan.rule_of_thumb = 4 * plan.parameters * 4 if plan.method == "full" else 0
    plan.flops, plan.step_tokens = seen.work.flops, outlook.step_tokens
    if known is not None:
        plan.step = _time(seen, outlook, fit, known, shards)
    if rows is not None:
        per_epoch = make_plan(rows.training, setting, plan.recipe).steps_per_epoch
        plan.steps = total_steps(plan.recipe, per_epoch)
    return plan


def _time(seen: Any, outlook: Outlook, fit: Fit, known: Device, shards: Shards) -> TimeEstimate | None:
    """A step on a device of the table: its micro-batches one after the other, each rank with its share of them."""
    once = estimate_time(seen.work, known)
    if once is None:
        return None
    micro_batches = max(1, round(outlook.micro_batches / shards.ranks))
    whole = once.times(micro_batches)
    if shards.ranks == 1:
        return whole
    passed = communication_seconds(seen.weights, 4 * seen.trained, shards, known.link, micro_batches=micro_batches)
    return None if passed is None else sharded_time(whole, passed)
