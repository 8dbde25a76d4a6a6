"""The time of a run on this machine, from the pace of a real step, measured now or cached from an earlier command."""

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
    """The pace of a measured step."""

    seconds_per_token: float
    """For each token of the network's input, padding included."""
    packing: bool
    """Whether examples were packed; only the loaded model shows whether they can be."""
    micro_tokens: int
    """Maximum tokens of a micro-batch; fewer than planned if the step ran out of memory."""
    measured: float
    """Time of the measurement, in seconds since 1970."""

    @property
    def is_sound(self) -> bool:
        """Whether the values are plausible for a step."""
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
    """The result of a trial of compiled steps."""

    compiling: float
    """Seconds of compiling."""
    saved: float
    """Share of a step's time saved, minus the noise; below 0 if they may take longer."""
    measured: float
    """Time of the measurement, in seconds since 1970."""

    @property
    def is_sound(self) -> bool:
        """Whether the values are plausible for a trial."""
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
    """The cache key of a pace: a hash of everything that the speed of a step depends on.

    Args:
        ingredients: JSON-ready values.
    """
    text = json.dumps(ingredients, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def find_pace(key: str) -> KnownPace | None:
    """The cached pace of a key; None if there is none, or its file is damaged."""
    return _find(key, KnownPace)


def find_trial(key: str) -> KnownTrial | None:
    """The cached trial of a key; None if there is none, or its file is damaged."""
    return _find(key, KnownTrial)


def keep_pace(key: str, pace: KnownPace) -> str:
    """Caches a pace, replacing an older one.

    Returns:
        Why it could not be cached; empty on success.
    """
    return _keep(key, pace)


def keep_trial(key: str, trial: KnownTrial) -> str:
    """Caches a trial of compiled steps, replacing an older one.

    Returns:
        Why it could not be cached; empty on success.
    """
    return _keep(key, trial)


def _find(key: str, kind: type[_Known]) -> _Known | None:
    try:
        values = json.loads(_file(key, kind).read_text(encoding="utf-8"))
        known = kind(**values)
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


_NO_EFFECT_ON_SPEED: dict[str, Any] = {
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
"""Options that do not affect the speed of a step. Model, rows and labels enter the key by their resolved content, and
the pace is that of uncompiled steps."""
_KEPT_BITS = 3
_SHORT_OPERATIONS = 2e13
"""Five minutes at 70 billion operations per second, which a single old core achieves."""


@dataclass(frozen=True, slots=True)
class MeasuredTime:
    """The time of a run at a pace measured on this machine."""

    step: float
    """Seconds of an optimizer step, on average."""
    run: float
    """Seconds of the training, with its validations and without its checkpoints."""
    tokens_per_second: float
    """Tokens of the network's input, padding included."""


def step_key(plan: RunPlan) -> str:
    """The cache key of a run's pace: equal for runs whose steps are equally fast.

    Only the lengths of the rows count, and those roughly. Everything else that the loaded model decides depends on the
    model itself, so the key can be computed from the plan, before anything is loaded.
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
    exclude = _NO_EFFECT_ON_SPEED | dict.fromkeys(context.unread_sections(), True)
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
    """Whether the training takes a few minutes at most on any machine, by its number of operations.

    Six operations for each parameter and token (arXiv 2001.08361, section 2.1), padding included.
    """
    steps = total_steps(plan.context.recipe, batches.steps_per_epoch)
    operations = 6 * plan.facts.parameters * sum(batches.padded_tokens(step) for step in range(steps))
    return operations < _SHORT_OPERATIONS


def _roughly(number: int) -> int:
    """The number rounded up to its leading three bits: at most a quarter more; small numbers are unchanged."""
    unit = 1 << max(0, number.bit_length() - _KEPT_BITS)
    return -(-number // unit) * unit


def keep_measured(key: str, pace: float, plan: BatchPlan, emit: Emit) -> KnownPace:
    """Caches the pace of a step for later plans, with a note if that fails.

    Args:
        key: of the run's pace.
        pace: seconds per token of the network's input.
        plan: of the batches, after the step.
        emit: receives the note.
    """
    known = KnownPace(pace, plan.packing, plan.micro_tokens, time.time())
    reason = keep_pace(key, known)
    if reason:
        emit(Note(f"The measured time cannot be cached for later plans: {reason}."))
    return known


def measured_time(pace: float, plan: BatchPlan, held_out_tokens: int, recipe: Recipe) -> MeasuredTime:
    """The time of a run at a pace measured here.

    Args:
        pace: seconds per token of the network's input.
        plan: of the training rows.
        held_out_tokens: tokens of the network's input in one validation.
        recipe: resolved.
    """
    steps = total_steps(recipe, plan.steps_per_epoch)
    tokens = [plan.padded_tokens(step) for step in range(steps)]
    run = forecast(pace, tokens, held_out_tokens, int(recipe.evaluate.every))
    return MeasuredTime(pace * sum(tokens) / steps, run, 1 / pace)


def pace_here(plan: RunPlan) -> tuple[RunContext, KnownPace, bool] | None:
    """The pace of a run on this machine. Writes only to the cache.

    Args:
        plan: of a run whose weights are available.

    Returns:
        The run, with packing turned off if the model does not keep packed examples apart; its pace; and whether that
        was measured earlier. None if the measured step did not finish.

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
    """Loads the model and measures the first steps of a training run."""
    context, training = plan.context, plan.context.training
    base = load_network(context)
    # what the loaded model resolves is not reported: a plan with a cached pace could not report it either
    context = inspect_base(context, base, report=lambda choice: None)
    # the base model's values for each row do not affect the speed of a step
    stand_in = Encoded(context.task.objective.placeholder_examples(training.examples), training.owners, [])
    batches = context.batch_plan(stand_in)
    network = apply_method(context, base)
    context.emit(Stage("measuring a step"))
    pace = confirm_step(network, context, batches, plan)
    return None if pace is None else keep_measured(key, pace, batches, context.emit)
