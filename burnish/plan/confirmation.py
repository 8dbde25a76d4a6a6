"""One real step on the longest rows, before the run begins: whether it fits, and what it takes next to the plan."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from burnish.data.batching.batches import BatchPlan
from burnish.engine.random_state import random_tensors, random_values, restore_random
from burnish.engine.step import NotFinite, Trainer, make_trainer
from burnish.models.blocks import held_tensors
from burnish.models.device import RAISED, ran_out
from burnish.plan.live_storage import BATCH, OPTIMIZER, WEIGHTS, LiveStorage
from burnish.plan.run_plan import RunPlan
from burnish.prepare.context import RunContext
from burnish.runs.events import MemoryMeasured, Note


def confirm_step(network: Any, context: RunContext, batches: BatchPlan, plan: RunPlan) -> float | None:
    """Takes steps that move nothing, with an optimizer of their own, and tells their memory next to the planned one.

    Where it runs out of memory, the plan's micro-batches are halved until it does not, or single rows are left, which
    the loop will tell of.

    Args:
        network: trainable; its weights and the random state are left as they are.
        context: of the run.
        batches: of the training rows; its micro-batches may become smaller.
        plan: what was planned.

    Returns:
        Seconds per token that goes through the network, padding included; None where no step came to its end.
    """
    drawn = random_tensors(), random_values()
    try:
        while (seen := _attempt(network, context, batches, plan)) is None:
            if not batches.halve_micro_batch(None):
                return None  # not even one row fits; the loop will say so
            context.emit(Note("The step ran out of memory; trying half as many rows at once."))
    except NotFinite:
        return None  # the loop will meet it too, and name the rows
    finally:
        restore_random(*drawn)
    if plan.fit is not None:
        context.emit(MemoryMeasured(predicted=plan.fit.simulation.peak.total, measured=seen.peak))
    return seen.pace


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a step was seen to take."""

    peak: int
    """Bytes of tensors."""
    pace: float
    """Seconds per token, padding included."""


def _attempt(network: Any, context: RunContext, batches: BatchPlan, plan: RunPlan) -> _Seen | None:
    """Three steps: one to warm up, one whose tensors are followed, one that is timed; None where memory ran out."""
    trainer = make_trainer(network, context.task, context.method, context.recipe, context.device)
    for group in trainer.optimizer.param_groups:
        group["lr"] = group["rate_factor"] = 0.0
    longest = next(batches.each_batch())
    step = [longest] * (2 if batches.rows_per_step > longest.input_ids.shape[0] else 1)
    try:
        trainer.step(step)
        peak = _watched(trainer, step, plan.facts.outputs)
        begun = time.perf_counter()
        trainer.step(step)
        seconds = time.perf_counter() - begun
        return _Seen(peak, seconds / sum(batch.input_ids.numel() for batch in step))
    except RAISED as error:
        if not ran_out(error):
            raise
        return None
    finally:
        trainer.discard_attempt()


def _watched(trainer: Trainer, batches: list[Any], outputs: int) -> int:
    """Bytes of tensors at the peak of a step, when the optimizer has its memory."""
    if trainer.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        trainer.step(batches)
        return torch.cuda.max_memory_allocated()
    storage = LiveStorage(outputs)
    storage.begin_phase("step")
    storage.hold(held_tensors(trainer.network), WEIGHTS)
    moments = [value for state in trainer.optimizer.state.values() for value in state.values()]
    storage.hold([value for value in moments if isinstance(value, torch.Tensor)], OPTIMIZER)
    for batch in batches:
        storage.hold(batch.tensors(), BATCH)
    with storage:
        trainer.step(batches)
    return storage.peak.total
