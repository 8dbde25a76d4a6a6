"""How long a run takes here, from the pace of a real step: measured now, or earlier and kept."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from burnish.data.batching.batches import BatchPlan
from burnish.engine.progress import forecast
from burnish.errors import MachineError
from burnish.models.base import fingerprint
from burnish.plan.confirmation import confirm_step
from burnish.plan.run_plan import RunPlan
from burnish.prepare.context import Emit, RunContext
from burnish.prepare.encode import Encoded
from burnish.prepare.model import apply_method, inspect_base, load_network
from burnish.prepare.resolve import total_steps
from burnish.recipe.schema import Recipe
from burnish.runs.atomic import write_json
from burnish.runs.events import Note, Stage
from burnish.system.machine import cache_folder, package_versions, this_machine


@dataclass(frozen=True, slots=True)
class KnownPace:
    """What a measured step told."""

    seconds_per_token: float
    """For each token that goes through the network, padding included."""
    packing: bool
    """Whether examples shared rows; only a loaded model tells whether they may."""
    micro_tokens: int
    """Most tokens of a micro-batch; fewer than planned where the step ran out of memory."""
    measured: float
    """When, in seconds since 1970."""

    @property
    def is_sound(self) -> bool:
        """Whether the values can be what a step told."""
        return (
            isinstance(self.packing, bool)
            and isinstance(self.micro_tokens, int)
            and self.micro_tokens > 0
            and math.isfinite(self.seconds_per_token)
            and self.seconds_per_token > 0
            and 0 < self.measured <= time.time()
        )


@dataclass(frozen=True, slots=True)
class KnownTrial:
    """What trying compiled steps told."""

    compiling: float
    """Seconds until they ran."""
    saved: float
    """Share of a step's time that they save for sure; below 0 where they may take longer."""
    measured: float
    """When, in seconds since 1970."""

    @property
    def is_sound(self) -> bool:
        """Whether the values can be what a trial told."""
        return (
            math.isfinite(self.compiling)
            and self.compiling >= 0
            and math.isfinite(self.saved)
            and self.saved < 1
            and 0 < self.measured <= time.time()
        )


_Known = TypeVar("_Known", KnownPace, KnownTrial)
_FOLDERS = {KnownPace: "paces", KnownTrial: "trials"}


def pace_key(ingredients: Mapping[str, Any]) -> str:
    """The name under which a pace is kept: a hash of everything that the speed of a step follows from.

    Args:
        ingredients: JSON-ready values.
    """
    text = json.dumps(ingredients, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def find_pace(key: str) -> KnownPace | None:
    """The pace that is kept under a key; None where there is none, or its file is damaged."""
    return _find(key, KnownPace)


def find_trial(key: str) -> KnownTrial | None:
    """The trial of compiled steps that is kept under a key; None where there is none, or its file is damaged."""
    return _find(key, KnownTrial)


def keep_pace(key: str, pace: KnownPace) -> str:
    """Keeps a pace, in place of an older one.

    Returns:
        Why it could not be kept, in words; empty where it was.
    """
    return _keep(key, pace)


def keep_trial(key: str, trial: KnownTrial) -> str:
    """Keeps a trial of compiled steps, in place of an older one.

    Returns:
        Why it could not be kept, in words; empty where it was.
    """
    return _keep(key, trial)


def _find(key: str, kind: type[_Known]) -> _Known | None:
    try:
        told = json.loads(_file(key, kind).read_text(encoding="utf-8"))
        known = kind(**told)
        return known if known.is_sound else None
    except (OSError, RuntimeError, TypeError, ValueError, OverflowError):
        return None


def _keep(key: str, known: KnownPace | KnownTrial) -> str:
    try:
        file = _file(key, type(known))
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, asdict(known))
    except (OSError, RuntimeError, MachineError) as error:
        return str(error)
    return ""


def _file(key: str, kind: type[KnownPace | KnownTrial]) -> Path:
    return cache_folder() / _FOLDERS[kind] / f"{key}.json"


_OF_NO_SPEED: dict[str, Any] = {
    "name": True,
    "runs": True,
    "seed": True,
    "model": {"name", "revision", "memory", "compile", "allow_pickle"},
    "data": {"path", "validation", "validation_fraction", "validation_rows", "shape", "columns", "rows", "labels"},
    "train": {"epochs", "max_steps", "learning_rate", "schedule", "warmup", "early_stopping", "patience"},
    "batch": {"tokens"},
    "evaluate": True,
    "save": True,
}
"""What makes no step faster or slower by itself; model, rows and labels count by what they became, and the pace is that
of uncompiled steps."""
_KEPT_BITS = 3
_SHORT_OPERATIONS = 2e13
"""Five minutes at 70 billion operations a second, which a single old core reaches."""


@dataclass(frozen=True, slots=True)
class MeasuredTime:
    """How long a run takes at a pace that was measured on this machine."""

    step: float
    """Seconds of an optimizer step, on average."""
    run: float
    """Seconds of the training, with its validations and without its checkpoints."""
    tokens_per_second: float
    """Tokens that go through the network, padding included."""


def step_key(plan: RunPlan) -> str:
    """The name of a run's pace: equal for runs whose steps are equally fast.

    Of the rows only their lengths count, and those roughly. Whatever else a loaded model decides follows from the model
    itself, so the key is made from the plan, before anything is loaded.
    """
    context = plan.context
    batches = context.batch_plan(context.training)
    rows, width = batches.micro_batch_sizes(None)[0]
    shape = {
        "rows": _roughly(rows),
        "width": _roughly(width),
        "longest": _roughly(max(example.num_tokens for example in context.training.examples)),
        "accumulates": batches.rows_per_step > rows,
        "outputs": plan.facts.outputs,
    }
    exclude = _OF_NO_SPEED | dict.fromkeys(context.unread_sections(), True)
    return pace_key(
        {
            "model": fingerprint(context.location.folder),
            "recipe": context.recipe.model_dump(mode="json", exclude=exclude),
            "shape": shape,
            "versions": package_versions(),
            "device": plan.budget.device,
            "processor": this_machine().processor,
            "threads": torch.get_num_threads(),
        }
    )


def is_surely_short(plan: RunPlan, batches: BatchPlan) -> bool:
    """Whether the training takes some minutes at most, on any machine: its operations are few.

    Six operations for each parameter and token (arXiv 2001.08361, section 2.1), padding included.
    """
    steps = total_steps(plan.context.recipe, batches.steps_per_epoch)
    operations = 6 * plan.facts.parameters * sum(batches.padded_tokens(step) for step in range(steps))
    return operations < _SHORT_OPERATIONS


def _roughly(number: int) -> int:
    """The number rounded up to its leading three bits: at most a quarter more, and small numbers as they are."""
    unit = 1 << max(0, number.bit_length() - _KEPT_BITS)
    return -(-number // unit) * unit


def keep_measured(key: str, pace: float, plan: BatchPlan, emit: Emit) -> KnownPace:
    """Keeps what a step told for later plans; tells where that cannot be.

    Args:
        key: of the run's pace.
        pace: seconds per token that goes through the network.
        plan: of the batches, as the step left it.
        emit: told of it.
    """
    known = KnownPace(pace, plan.packing, plan.micro_tokens, time.time())
    reason = keep_pace(key, known)
    if reason:
        emit(Note(f"The measured time cannot be kept for later plans: {reason}."))
    return known


def measured_time(pace: float, plan: BatchPlan, held_out_tokens: int, recipe: Recipe) -> MeasuredTime:
    """What a pace that was measured here makes of a run.

    Args:
        pace: seconds per token that goes through the network.
        plan: of the training rows.
        held_out_tokens: that go through the network in one validation.
        recipe: resolved.
    """
    steps = total_steps(recipe, plan.steps_per_epoch)
    tokens = [plan.padded_tokens(step) for step in range(steps)]
    run = forecast(pace, tokens, held_out_tokens, int(recipe.evaluate.every))
    return MeasuredTime(pace * sum(tokens) / steps, run, 1 / pace)


def pace_here(plan: RunPlan) -> tuple[RunContext, KnownPace, bool] | None:
    """The pace of a run on this machine. Nothing but the cache is written.

    Args:
        plan: of a run whose weights are here.

    Returns:
        The run, with packing turned off where the model would mix what shares a row; its pace; and whether that was
        measured earlier. None where the measured step did not finish.

    Raises:
        ModelError: the weights cannot be loaded.
    """
    key = step_key(plan)
    earlier = find_pace(key)
    known = earlier or _measure(key, plan)
    if known is None:
        return None
    context = plan.context
    if not known.packing:
        context = context.with_options(data={"packing": False})
    return context, known, earlier is not None


def _measure(key: str, plan: RunPlan) -> KnownPace | None:
    """Loads the model and takes the steps that a training begins with."""
    context, training = plan.context, plan.context.training
    base = load_network(context)
    # what the loaded model resolves is not reported: a plan with a cached pace could not report it either
    context = inspect_base(context, base, report=lambda choice: None)
    # what the base model would give for each row makes no step faster or slower
    stand_in = Encoded(context.task.objective.placeholder_examples(training.examples), training.owners, [])
    batches = context.batch_plan(stand_in)
    network = apply_method(context, base)
    context.emit(Stage("measuring a step"))
    pace = confirm_step(network, context, batches, plan)
    return None if pace is None else keep_measured(key, pace, batches, context.emit)
