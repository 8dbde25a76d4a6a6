"""`burnish plan`: memory and time of a run, on this machine or another device. Nothing is trained.

Memory is simulated. Time is measured in a few real steps on this machine, if rows and weights are available, and
estimated for other devices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

import numpy
import torch

from burnish.data.tokens.tokens import token_counts
from burnish.errors import InputError, MachineError
from burnish.export.vllm import remark_on_serving
from burnish.models.config import model_kind
from burnish.models.device import choose_device, choose_precision
from burnish.models.location import FoundModel, has_tokenizer, lacking
from burnish.plan.budget import Budget, budget_here, budget_of, settled
from burnish.plan.devices import Device, custom_device, find_device, load_devices, parse_memory
from burnish.plan.fit import Fit
from burnish.plan.roofline import TimeEstimate, estimate_time
from burnish.plan.run_plan import RunPlan, plan_run
from burnish.plan.sharding import Shards, communication_seconds, sharded_time, summing_seconds
from burnish.plan.stand_ins import find_for_planning, placeholder_records
from burnish.plan.time import MeasuredTime, measured_time, pace_here
from burnish.prepare.context import encode, name_model, read_rows, resolve_run
from burnish.prepare.first_checks import check_options
from burnish.prepare.resolve import Resolver, most_micro_tokens, resolve_by_steps
from burnish.prepare.shared import Shared
from burnish.prepare.start import naming_adapter, settle_start
from burnish.prepare.strategy import check_strategy
from burnish.prepare.vocabulary import check_tokenizer
from burnish.recipe.schema import AUTO, Recipe
from burnish.runs.event_log import EventLog
from burnish.runs.events import Listener, Resolved

_BY_DATA = ("task", "batch.tokens", "train.epochs", "lora.rank", "evaluate.answers", "evaluate.max_new_tokens")
"""Options that depend on the rows; not reported where the rows are placeholders."""
_LIBRARIES = "bytes of a process that has only planned"
_LENGTHS_AT = numpy.linspace(0, 1, 21)
"""Shares of the examples whose lengths are in a plan."""
_TORCH_TYPES = {"cuda": "cuda", "rocm": "cuda", "mps": "mps"}


@dataclass(frozen=True, slots=True)
class Place:
    """The target of a plan: this machine, or a device of the table."""

    on: str | None = None
    """A device of the table."""
    memory: str | None = None
    """Memory of the device, if it is not in the table or has a different amount."""
    gpus: int = 1
    nodes: int = 1


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """The largest micro-batch of a run, and on what its size depends."""

    context: int
    """Most tokens of a row."""
    rows: int
    """That are in memory at a time, as in `batch.rows`: of rows shorter than the context there are more."""
    width: int
    """Tokens of its longest row."""
    is_packed: bool
    """Whether a row has several examples."""
    most_tokens: int | None
    """Beyond which several rows are no faster; None where there is no such limit."""
    epoch_tokens: int
    """Tokens of all training rows."""
    trained_share: float
    """Of these, what is learned."""
    lengths: list[int]
    """Tokens of the shortest example, of one longer than 5 % of them, than 10 %, and so on to the longest."""


@dataclass(slots=True)
class Plan:
    """Memory and time of a run."""

    model: str
    parameters: int
    task: str
    method: str
    recipe: Recipe
    choices: list[Resolved] = field(default_factory=list)
    device: str = ""
    memory: dict[str, int] = field(default_factory=dict)
    """Bytes by use, on one device; they add up to the peak."""
    sources: dict[str, str] = field(default_factory=dict)
    """Sources of the figures that are not simulated."""
    room: int = 0
    """Bytes available to the run there."""
    offloaded: int = 0
    """Bytes of CPU memory besides, on each machine, of what is kept off its devices."""
    rule_of_thumb: int = 0
    """Textbook estimate: bytes per parameter, without activations."""
    trained_parameters: int = 0
    trained_in_blocks: int = 0
    """Of these, in the blocks of the model: of an adapter they are proportional to its rank."""
    micro_batch: MicroBatch | None = None
    """None until the memory is described."""
    step: TimeEstimate | None = None
    """Estimated time of a step on another device; None if it is unknown."""
    measured: MeasuredTime | None = None
    """Time on this machine; None if it was not measured."""
    measured_at: float = 0.0
    """Time of the measurement, in seconds since 1970."""
    is_earlier: bool = False
    """Whether an earlier command measured it."""
    why_no_time: str = ""
    """Why there is no time, as text that follows `unknown`."""
    step_tokens: int = 0
    steps: int | None = None
    """Steps of the whole run; None without data."""
    flops_per_token: float = 0.0
    """Floating-point operations of the simulated step for each of its tokens, padding not counted."""
    flops: int = 0
    """Floating-point operations of a step."""
    ranks: int = 1

    @property
    def peak(self) -> int:
        """All bytes."""
        return sum(self.memory.values())

    @property
    def time_source(self) -> str | None:
        """Where the time comes from; None if there is none."""
        if self.measured is not None:
            return "measured here earlier" if self.is_earlier else "measured here"
        return None if self.step is None else "from the device's specifications"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values. A measured time has no bounds."""
        step = run = speed = at = None
        if self.measured is not None:
            step = {"seconds": self.measured.step, "low": None, "high": None}
            run = {**step, "seconds": self.measured.run, "longest": self.measured.longest}
            speed = self.measured.tokens_per_second
            at = datetime.fromtimestamp(self.measured_at, timezone.utc).isoformat(timespec="seconds")
        elif self.step is not None:
            step, speed = asdict(self.step), self.step_tokens / self.step.seconds
            run = None if self.steps is None else asdict(self.step.times(self.steps))
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
            "offloaded": self.offloaded,
            "rule_of_thumb": self.rule_of_thumb,
            "trained_parameters": self.trained_parameters,
            "trained_in_blocks": self.trained_in_blocks,
            "micro_batch": None if self.micro_batch is None else asdict(self.micro_batch),
            "step_tokens": self.step_tokens,
            "step_flops": self.flops,
            "flops_per_token": self.flops_per_token,
            "steps": self.steps,
            "step": step,
            "run": run,
            "evaluation": None if self.measured is None else {"seconds": self.measured.evaluation},
            "tokens_per_second": speed,
            "time_source": self.time_source,
            "time_measured_at": at,
            "why_no_time": self.why_no_time or None,
        }


def plan(
    recipe: Recipe,
    place: Place,
    listeners: Iterable[Listener] = (),
    shared: Shared | None = None,
    is_timed: bool = True,
) -> Plan:
    """Plans a run.

    Args:
        recipe: may hold `auto`; without `data.path`, placeholder rows fill the context.
        place: where it would run.
        listeners: receive every event.
        shared: what this process keeps for its next plans, which are for runs in other processes.
        is_timed: whether steps are measured on this machine; without, memory alone is planned.

    Raises:
        InputError: recipe, data, model or device is wrong.
        MachineError: nothing fits.
    """
    choices: list[Resolved] = []
    has_data = bool(recipe.data.path)
    emit = EventLog(None, listeners)

    def report(choice: Resolved) -> None:
        if has_data or choice.option not in _BY_DATA:
            choices.append(choice)
            emit(choice)

    check_options(recipe)
    recipe = settle_start(recipe, None, report)
    resolver = Resolver(recipe, report)
    if has_data:
        records = read_rows(recipe, emit, shared=shared)
        name_model(resolver, records)
        model = _found(resolver.recipe, emit)
    else:
        model = _found(_named(resolver.recipe), emit)
        records = placeholder_records(model_kind(model.config))
    if has_tokenizer(model.location.folder):  # else that of another model is used
        check_tokenizer(resolver.recipe, model)
    device, known = _device(recipe, place)
    check_strategy(recipe, place.gpus * place.nodes, device.type)
    precision = _precision(resolver.recipe, device, known)
    budget = _budget(recipe, place, device, known, precision[0])
    if shared is not None and (libraries := shared.kept(_LIBRARIES, "")) is not None:
        budget = settled(budget, libraries)
    context = replace(resolve_run(resolver, recipe, records, model, device, precision, emit), shared=shared)
    context = encode(context)
    shards = Shards(place.gpus, place.nodes)
    planned = plan_run(context, budget, has_data, shards, report)
    if shared is not None and budget.kind == "cpu":
        shared.once(_LIBRARIES, "", lambda: planned.budget.taken)
    remark_on_serving(planned.context)
    if planned.fit is None:
        raise MachineError(
            f"no plan can be made for `{model.location.name}`",
            "torch cannot simulate a training step of it, for the reason above.",
            "Train a few steps with `--set train.max_steps=3` to see the memory and time it needs",
        )
    made = Plan(
        model.location.name,
        planned.facts.parameters,
        planned.context.task.name,
        planned.context.method.name,
        planned.context.recipe,
        choices,
    )
    _describe_memory(made, planned, planned.fit, shards)
    if known is not None:
        made.step = _time(planned, planned.fit, known, shards)
        made.why_no_time = "" if made.step else _why_no_time(made.recipe)
    if has_data:
        _describe_run(made, planned, known is None and is_timed, report)
        made.why_no_time = made.why_no_time or ("" if is_timed else "as long as nothing is measured")
    elif known is None:
        made.why_no_time = "without DATA: time is measured on its rows"
    return made


def _found(recipe: Recipe, emit: Listener) -> FoundModel:
    with naming_adapter(recipe):
        return find_for_planning(recipe.model, emit)


def _named(recipe: Recipe) -> Recipe:
    if recipe.model.name == AUTO:
        raise InputError(
            "a plan needs DATA or a model",
            "",
            "Give a file of rows, or a model with `--model`",
        )
    return recipe


def _device(recipe: Recipe, place: Place) -> tuple[torch.device, Device | None]:
    """The device, and its entry in the table; None for this machine."""
    if place.gpus < 1 or place.nodes < 1:
        raise InputError("`--gpus` and `--nodes` must be at least 1", "", "Leave them out for one device")
    if place.on is None and place.memory is None:
        if place.gpus * place.nodes > 1:
            raise InputError(
                "`--gpus` and `--nodes` need a device", "", "Name one, for example `--on A100-80GB --gpus 8`"
            )
        return choose_device(recipe.model.device), None
    known = custom_device(_memory(place) or 0) if place.on is None else find_device(place.on)
    return torch.device(_TORCH_TYPES[known.kind]), known


def _memory(place: Place) -> int | None:
    return None if place.memory is None else parse_memory(place.memory)


def _budget(recipe: Recipe, place: Place, device: torch.device, known: Device | None, precision: str) -> Budget:
    if known is None:
        return budget_here(device, recipe.model.memory, precision)
    return budget_of(known, _memory(place))


def _precision(recipe: Recipe, device: torch.device, known: Device | None) -> tuple[str, str]:
    if known is None:
        return choose_precision(recipe.model.precision, device)
    if recipe.model.precision != AUTO:
        return recipe.model.precision, "as asked"
    return known.precision, f"the fastest precision of {known.name}"


def _why_no_time(recipe: Recipe) -> str:
    """Why a step on a device of the table has no time."""
    if recipe.distributed.offload:
        return "with `distributed.offload`: it depends on the machine's CPU, where the optimizer works"
    return "for this device"


def _describe_memory(plan: Plan, planned: RunPlan, fit: Fit, shards: Shards) -> None:
    """Fills in the memory and the arithmetic of a step."""
    budget, seen = planned.budget, fit.simulation
    parts = seen.peak.parts
    plan.device, plan.room, plan.ranks = budget.device, budget.room, shards.ranks
    plan.offloaded = seen.offloaded
    plan.memory = {name: size for name, size in parts.items() if size}
    plan.memory["allocator"] = int(sum(parts.values()) * budget.allocator_share)
    plan.memory |= {one.name: one.bytes for one in budget.overheads}
    plan.memory = {name: size for name, size in plan.memory.items() if size}
    plan.sources = {one.name: one.source for one in budget.overheads}
    plan.rule_of_thumb = 4 * plan.parameters * 4 if seen.trained >= plan.parameters else 0
    plan.flops, plan.step_tokens = seen.work.flops, planned.step_tokens
    plan.flops_per_token = seen.work.flops / max(1, seen.tokens)
    plan.trained_parameters, plan.trained_in_blocks = seen.trained, seen.trained - seen.trained_outside
    plan.micro_batch = _micro_batch(planned)


def _micro_batch(planned: RunPlan) -> MicroBatch:
    context, recipe = planned.context, planned.context.recipe
    batches, lengths = context.batch_plan(context.training), token_counts(context.training.examples)
    return MicroBatch(
        context=context.context_length,
        rows=int(recipe.batch.rows),
        width=batches.largest_size()[1],
        is_packed=batches.packing,
        most_tokens=most_micro_tokens(planned.facts),
        epoch_tokens=batches.num_tokens,
        trained_share=round(context.training.num_trained / max(1, batches.num_tokens), 4),
        lengths=numpy.quantile(lengths, _LENGTHS_AT, method="nearest").tolist(),
    )


def _describe_run(plan: Plan, planned: RunPlan, is_here: bool, report: Callable[[Resolved], None]) -> None:
    """Fills in the steps of the run and, for this machine, how long they take."""
    context, found = planned.context, None
    if is_here:
        lacks = lacking(context.location, context.recipe.model)
        plan.why_no_time = f"here: a step can only be measured with the weights, and {lacks}" if lacks else ""
        found = None if lacks else pace_here(planned)
    if found is not None:
        context = found[0]
    training = context.batch_plan(context.training)
    resolver = Resolver(context.recipe, report)
    plan.steps = resolve_by_steps(resolver, training.steps_per_epoch, context.training.num_tokens)
    plan.recipe = resolver.recipe
    if found is not None:
        _, known, plan.is_earlier = found
        plan.measured_at, training.micro_tokens = known.measured, known.micro_tokens
        plan.measured = measured_time(known, training, context.with_recipe(plan.recipe))
    elif is_here and not plan.why_no_time:
        plan.why_no_time = "here: the step to measure did not finish"


def _time(planned: RunPlan, fit: Fit, known: Device, shards: Shards) -> TimeEstimate | None:
    """Time of a step on a device of the table: each rank runs its share of the micro-batches in sequence, and either
    gathers weights and reduces gradients for each of them, or adds up gradients once."""
    seen = fit.simulation
    once = estimate_time(seen.work, known)
    if once is None or seen.offloaded:
        return None
    micro_batches = max(1, round(planned.micro_batches / shards.ranks))
    whole = once.times(micro_batches)
    if shards.ranks == 1:
        return whole
    if fit.way.is_sharded:
        reshards = planned.context.recipe.distributed.reshard_after_forward
        passed = communication_seconds(
            seen.weights, 4 * seen.trained, shards, known.link, micro_batches=micro_batches, reshards=reshards
        )
    else:
        passed = summing_seconds(4 * seen.trained, shards, known.link)
    return None if passed is None else sharded_time(whole, passed)


MODELS = ("Llama-2-7b-hf", "Llama-2-13b-hf", "Llama-2-70b-hf")
METHODS = ("full", "lora", "int8-lora", "qlora")
_CONTEXT = 1024
_ENDLESS = "100TB"


@dataclass(frozen=True, slots=True)
class TableRow:
    """One cell of the guides' tables."""

    model: str
    method: str
    bytes: int
    """Peak memory of a step."""
    fits_on: str
    """The devices with the least sufficient memory; empty if there are none."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


def plan_table() -> list[TableRow]:
    """Every model with every method: micro-batches of one row, activation checkpointing."""
    return [_row(model, method) for model in MODELS for method in METHODS]


def _row(model: str, method: str) -> TableRow:
    values = {
        "method": method,
        "model": {"name": model},
        "data": {"context": _CONTEXT},
        "batch": {"rows": 1, "tokens": 16 * _CONTEXT},
        "train": {"gradient_checkpointing": True},
    }
    made = plan(Recipe.model_validate(values), Place(memory=_ENDLESS))
    tensors = sum(made.memory[name] for name in made.memory if name not in made.sources and name != "allocator")
    return TableRow(model, method, made.peak, _smallest(tensors))


def _smallest(tensors: int) -> str:
    """The devices with the least memory among those that hold so many bytes of tensors."""
    able: list[Device] = [device for device in load_devices() if budget_of(device).tensors >= tensors]
    least = min((device.memory_bytes for device in able), default=0)
    return ", ".join(device.name for device in able if device.memory_bytes == least)
