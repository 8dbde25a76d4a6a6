"""Real steps on the longest rows before a run starts: whether they fit, and their memory compared with the plan."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from burnish.data.batching.batches import BatchPlan
from burnish.engine.random_state import random_tensors, random_values, restore_random
from burnish.engine.step import NotFinite, Trainer, make_trainer
from burnish.models.blocks import held_tensors
from burnish.models.device import RAISED, ran_out, synchronize
from burnish.plan.live_storage import BATCH, OPTIMIZER, WEIGHTS, LiveStorage
from burnish.plan.run_plan import RunPlan
from burnish.prepare.context import RunContext
from burnish.runs.events import MemoryMeasured, Note


def confirm_step(network: Any, context: RunContext, batches: BatchPlan, plan: RunPlan) -> float | None:
    """Runs steps with a learning rate of 0 and their own optimizer, and reports measured next to planned memory.

    If memory runs out, the micro-batches are halved until it suffices or only single rows are left, which the training
    loop will report.

    Args:
        network: trainable; its weights and the random state are unchanged.
        context: of the run.
        batches: of the training rows; its micro-batches may become smaller.
        plan: of the run.

    Returns:
        Seconds per token of the network's input, padding included; None if no step finished.
    """
    drawn = random_tensors(), random_values()
    try:
        while (seen := _attempt(network, context, batches, plan)) is None:
            if not batches.halve_micro_batch(None):
                return None  # not even one row fits; the loop will report it
            context.emit(Note("The step ran out of memory; trying half as many rows at a time."))
    except NotFinite:
        return None  # it will occur in the loop too, which names the rows
    finally:
        restore_random(*drawn)
    if plan.fit is not None:
        context.emit(MemoryMeasured(predicted=plan.fit.simulation.peak.total, measured=seen.peak))
    return seen.pace


@dataclass(frozen=True, slots=True)
class _Measured:
    """Measurements of a step."""

    peak: int
    """Bytes of tensors."""
    pace: float
    """Seconds per token, padding included."""


def _attempt(network: Any, context: RunContext, batches: BatchPlan, plan: RunPlan) -> _Measured | None:
    """Three steps: one to warm up, one to track tensors, one to time; None if memory ran out."""
    trainer = make_trainer(network, context.task, context.method, context.recipe, context.device)
    for group in trainer.optimizer.param_groups:
        group["lr"] = group["rate_factor"] = 0.0
    longest = next(batches.each_batch())
    step = [longest] * (2 if batches.rows_per_step > longest.input_ids.shape[0] else 1)
    try:
        trainer.step(step)
        peak = _peak_bytes(trainer, step, plan.facts.outputs)
        synchronize(context.device)
        begun = time.perf_counter()
        trainer.step(step)
        synchronize(context.device)
        seconds = time.perf_counter() - begun
        return _Measured(peak, seconds / sum(batch.input_ids.numel() for batch in step))
    except RAISED as error:
        if not ran_out(error):
            raise
        return None
    finally:
        trainer.discard_attempt()


def _peak_bytes(trainer: Trainer, batches: list[Any], outputs: int) -> int:
    """Peak tensor bytes of a step, once the optimizer has allocated its state."""
    if trainer.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(trainer.device)
        trainer.step(batches)
        return torch.cuda.max_memory_allocated(trainer.device)
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
