"""A trial before a run starts: real steps, validation rows and answers, for whether they fit, their memory and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

import torch

from burnish.data.batching.batches import Batch, BatchPlan
from burnish.decoding.generate import generate_batch
from burnish.engine.checkpoint import checkpoint_bytes
from burnish.engine.random_state import random_tensors, random_values, restore_random
from burnish.engine.step import NotFinite, Trainer, make_trainer
from burnish.engine.validation import HeldOut, evaluate_rows
from burnish.models.blocks import held_tensors
from burnish.models.device import RAISED, RowTooLarge, free_memory, ran_out, synchronize
from burnish.plan.known import KnownPace
from burnish.plan.live_storage import BATCH, OPTIMIZER, WEIGHTS, LiveStorage
from burnish.plan.run_plan import RunPlan
from burnish.prepare.context import RunContext
from burnish.runs.events import MemoryMeasured, Note
from burnish.system.load import OtherPrograms
from burnish.system.machine import peak_bytes, reset_peak, resident_bytes
from burnish.tasks.questions import answer_batches
from burnish.tasks.task import Question

_Times = TypeVar("_Times")
_MICRO_BATCHES = 2
"""Micro-batches of a timed step: the first of them, where a step has more."""
_TIMED_STEPS, _TIMED_SECONDS, _MOST_STEPS = 2, 0.3, 12
"""Steps that are timed: two, and further ones until so many seconds have passed, because the first steps of a small
model, with shapes that are new to the kernels, are slower than the rest."""
_NEW_TOKENS = 6
"""Length of the timed answers; their first token comes with the prompt."""


def try_run(
    network: Any, context: RunContext, batches: BatchPlan, plan: RunPlan, questions: Sequence[Question], loading: float
) -> KnownPace | None:
    """Runs steps with a learning rate of 0 and their own optimizer, then validation rows and answers.

    If memory runs out, the micro-batches are halved until it suffices or only single rows are left, which the training
    loop will report.

    Args:
        network: trainable; its weights and the random state are unchanged.
        context: of the run.
        batches: of the training rows; its micro-batches may become smaller.
        plan: of the run; where the step was simulated, reports measured next to planned memory.
        questions: that both models will answer.
        loading: seconds of loading the base model, which are part of the result.

    Returns:
        What the run takes; None if no step finished.
    """
    drawn = random_tensors(), random_values()
    try:
        while (tried := _attempt(network, context, batches, plan, questions)) is None:
            if not batches.halve_micro_batch(None):
                return None  # not even one row fits; the loop will report it
            context.emit(Note("The step ran out of memory; trying half as many rows at a time."))
    except NotFinite:
        return None  # it will occur in the loop too, which names the rows
    finally:
        restore_random(*drawn)
    return replace(tried, loading=loading)


def _attempt(
    network: Any, context: RunContext, batches: BatchPlan, plan: RunPlan, questions: Sequence[Question]
) -> KnownPace | None:
    """The trial; None if a training step ran out of memory."""
    trainer = make_trainer(network, context.task, context.method, context.recipe, context.device)
    for group in trainer.optimizer.param_groups:
        group["lr"] = group["rate_factor"] = 0.0
    before = resident_bytes()
    reset_peak()
    with OtherPrograms() as others:
        pace = _train(trainer, context, batches, plan)
        if pace is None:
            return None
        validation = _unless_out_of_memory(_validation_token, trainer, context)
        answers = _unless_out_of_memory(_answer_times, network, context, questions)
    return KnownPace(
        seconds_per_token=pace,
        # the backward pass costs twice the forward pass (arXiv 2001.08361, section 2.1)
        validation_token=validation or pace / 3,
        prompt_token=answers[0] if answers else 0.0,
        new_token=answers[1] if answers else 0.0,
        loading=0.0,
        checkpoint=checkpoint_bytes(network),
        grown=max(0, (peak_bytes() or 0) - before),
        others=others.share,
        packing=batches.packing,
        micro_tokens=batches.micro_tokens,
        measured=time.time(),
    )


def _train(trainer: Trainer, context: RunContext, batches: BatchPlan, plan: RunPlan) -> float | None:
    """Seconds per token of training, after a step on the longest rows; None if memory ran out."""
    try:
        step = _longest_step(batches)
        trainer.step(step)
        if plan.fit is not None:
            measured = _peak_bytes(trainer, step, plan.facts.outputs)
            context.emit(MemoryMeasured(predicted=plan.fit.simulation.peak.total, measured=measured))
        return _seconds_per_token(trainer, batches)
    except RAISED as error:
        if not ran_out(error):
            raise
        return None
    finally:
        trainer.discard_attempt()


def _unless_out_of_memory(measure: Callable[..., _Times], *subjects: Any) -> _Times | None:
    """What a function measures; None if memory runs out, which the run will meet and handle in the same place."""
    try:
        return measure(*subjects)
    except (*RAISED, RowTooLarge) as error:
        if not isinstance(error, RowTooLarge) and not ran_out(error):
            raise
    free_memory()
    return None


class _Clock:
    """A context manager that measures seconds, those of queued work of a device included."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds = 0.0

    def __enter__(self) -> _Clock:
        synchronize(self._device)
        self._begun = time.perf_counter()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        synchronize(self._device)
        self.seconds = time.perf_counter() - self._begun


def _longest_step(batches: BatchPlan) -> list[Batch]:
    """A step on the longest rows: at most two micro-batches, since the second adds to existing gradients."""
    longest = next(batches.each_batch())
    return [longest] * (2 if batches.rows_per_step > longest.input_ids.shape[0] else 1)


def _seconds_per_token(trainer: Trainer, batches: BatchPlan) -> float:
    """The time of the first steps of the run, or of their first micro-batches, for each token of the network's input,
    padding included."""
    seconds, tokens = 0.0, 0
    for number in range(min(_MOST_STEPS, batches.steps_per_epoch)):
        step = batches.step_batches(number)[:_MICRO_BATCHES]
        with _Clock(trainer.device) as clock:
            trainer.step(step)
        seconds += clock.seconds
        tokens += sum(batch.input_ids.numel() for batch in step)
        if number + 1 >= _TIMED_STEPS and seconds >= _TIMED_SECONDS:
            break
    return seconds / tokens


def _validation_token(trainer: Trainer, context: RunContext) -> float | None:
    """Seconds per token of validation rows; None without any. The first batch, of the longest rows, is not timed."""
    plan = context.batch_plan(context.validation)
    batches = plan.all_batches()
    if not batches:
        return None
    first, usual = batches[0], batches[len(batches) // 2]
    for batch in (first, usual):
        rows = HeldOut([batch], plan.examples, context.validation.owners)
        with _Clock(trainer.device) as clock:
            evaluate_rows(trainer.network, context.task, rows, trainer.precision)
    return clock.seconds / usual.input_ids.numel()


def _answer_times(network: Any, context: RunContext, questions: Sequence[Question]) -> tuple[float, float]:
    """Seconds for each token of the prompts, and for each further token of a batch of answers."""
    if not questions:
        return 0.0, 0.0
    group = [questions[index] for index in answer_batches(questions)[-1]]
    load = group[0].inputs
    prompts = [question.prompt_ids for question in group]

    def seconds(prompts: Sequence[Sequence[int]], length: int) -> tuple[float, int]:
        with _Clock(context.device) as clock:
            answers = generate_batch(
                network,
                context.tokenizer,
                prompts,
                context.task.predictor.stop_ids,
                length,
                context.recipe.model.precision,
                inputs=load() if load else None,
            )
        return clock.seconds, min(length, 1 + max(map(len, answers)))

    network.eval()
    seconds(prompts[:1], 2)
    once, _ = seconds(prompts, 1)
    longer, length = seconds(prompts, _NEW_TOKENS)
    width = max(map(len, prompts))
    return once / (len(prompts) * width), max(0.0, longer - once) / max(1, length - 1)


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
