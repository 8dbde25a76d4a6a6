"""How long a run takes on this machine, from the pace of a real step: measured now, or earlier and kept."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from burnish.data.batch_plan import BatchPlan
from burnish.engine.pace import forecast
from burnish.machine import this_machine
from burnish.models.base import fingerprint
from burnish.plan.resolve import Resolver, total_steps
from burnish.recipe.schema import Recipe
from burnish.runs.events import Note, Stage
from burnish.runs.manifest import package_versions
from burnish.runs.pace_cache import KnownPace, find_pace, keep_pace, pace_key
from burnish.tasks.encoded import Encoded
from burnish.workflows.confirmation import confirm_step
from burnish.workflows.network import apply_method, load_network, look_at
from burnish.workflows.planning import Outlook
from burnish.workflows.preparation import Emit, Rows, Setting, make_plan, unread_by

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


@dataclass(frozen=True, slots=True)
class MeasuredTime:
    """How long a run takes at a pace that was measured on this machine."""

    step: float
    """Seconds of an optimizer step, on average."""
    run: float
    """Seconds of the training, with its validations and without its checkpoints."""
    tokens_per_second: float
    """Tokens that go through the network, padding included."""


def step_key(setting: Setting, recipe: Recipe, training: Encoded, outlook: Outlook) -> str:
    """The name of a run's pace: equal for runs whose steps are equally fast.

    Of the rows only their lengths count, and those roughly. Whatever else a loaded model decides follows from the model
    itself, so the key is made before anything is loaded.

    Args:
        setting: of the run.
        recipe: as the plan left it, before the model was looked at.
        training: the rows.
        outlook: what was planned.
    """
    plan = make_plan(training, setting, recipe)
    rows, width = plan.micro_batch_sizes(None)[0]
    shape = {
        "rows": _roughly(rows),
        "width": _roughly(width),
        "longest": _roughly(max(example.num_tokens for example in training.examples)),
        "accumulates": plan.rows_per_step > rows,
        "outputs": outlook.facts.outputs,
    }
    exclude = _OF_NO_SPEED | dict.fromkeys(unread_by(setting), True)
    return pace_key(
        {
            "model": fingerprint(setting.location.folder),
            "recipe": recipe.model_dump(mode="json", exclude=exclude),
            "shape": shape,
            "versions": package_versions(),
            "device": outlook.budget.device,
            "processor": this_machine().processor,
            "threads": torch.get_num_threads(),
        }
    )


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


def pace_here(
    resolver: Resolver, setting: Setting, rows: Rows, outlook: Outlook, emit: Emit
) -> tuple[KnownPace, bool] | None:
    """The pace of a run on this machine, and whether it was measured earlier. Nothing but the cache is written.

    Args:
        resolver: of the recipe; packing is turned off where the model would mix what shares a row.
        setting: of the run, whose model is here with its weights.
        rows: encoded.
        outlook: what was planned.
        emit: told of what is measured.

    Returns:
        None where the measured step did not come to its end.

    Raises:
        ModelError: the weights cannot be loaded.
    """
    key = step_key(setting, resolver.recipe, rows.training, outlook)
    earlier = find_pace(key)
    known = earlier or _measure(key, resolver.recipe, setting, rows.training, outlook, emit)
    if known is None:
        return None
    resolver.fill_packing(known.packing)
    return known, earlier is not None


def _measure(
    key: str, recipe: Recipe, setting: Setting, training: Encoded, outlook: Outlook, emit: Emit
) -> KnownPace | None:
    """Loads the model and takes the steps that a training begins with."""
    resolver = Resolver(recipe, lambda choice: None)  # a plan with a pace that was kept could not tell of these either
    base = load_network(setting, recipe, emit)
    look_at(base, setting, resolver, emit)
    # figures that the base model would give each row make no step faster or slower
    stand_in = Encoded(setting.task.stand_in(training.examples), training.owners, [])
    plan = make_plan(stand_in, setting, resolver.recipe)
    network = apply_method(base, setting, resolver.recipe, emit)
    emit(Stage("measuring a step"))
    pace = confirm_step(network, setting, resolver.recipe, plan, outlook, emit)
    return None if pace is None else keep_measured(key, pace, plan, emit)
