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

from burnish.data.batching.plan import BatchPlan
from burnish.engine.progress import forecast
from burnish.errors import MachineError
from burnish.models.base import fingerprint
from burnish.plan.confirmation import confirm_step
from burnish.plan.run_plan import Outlook
from burnish.prepare.context import Emit, Rows, Setting, make_plan, unread_by
from burnish.prepare.encode import Encoded
from burnish.prepare.model import apply_method, load_network, look_at
from burnish.prepare.resolve import Resolver, total_steps
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
    stand_in = Encoded(setting.task.objective.placeholder_examples(training.examples), training.owners, [])
    plan = make_plan(stand_in, setting, resolver.recipe)
    network = apply_method(base, setting, resolver.recipe, emit)
    emit(Stage("measuring a step"))
    pace = confirm_step(network, setting, resolver.recipe, plan, outlook, emit)
    return None if pace is None else keep_measured(key, pace, plan, emit)
