"""What a run takes, found before it begins: from a trial of real steps, made now or by an earlier run."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from burnish.data.batching.batches import BatchPlan
from burnish.engine.loop import Loop
from burnish.plan.budget import later_bytes
from burnish.plan.compiling import choose_compiling, compile_again
from burnish.plan.confirmation import try_run
from burnish.plan.known import KnownPace
from burnish.plan.run_plan import RunPlan
from burnish.plan.shared_plan import slowest
from burnish.plan.time import (
    MOST_TIMED,
    MeasuredTime,
    find_usable,
    is_surely_short,
    keep_faster,
    keep_measured,
    measured_time,
    training_seconds,
)
from burnish.prepare.context import RunContext
from burnish.prepare.shared import once
from burnish.runs.events import CommandMeasured, MemoryPredicted, ResidentMeasured, Stage, TimeMeasured, TimePlanned
from burnish.system.machine import peak_bytes, resident_bytes


@dataclass(frozen=True, slots=True)
class Expected:
    """What a run is expected to take."""

    begun: float
    """When the command was given, in seconds since 1970."""
    key: str
    """Of the cached pace."""
    loaded: int
    """Peak of resident memory until the first step."""
    so_far: float = 0.0
    """Seconds of the command before the training."""
    time: MeasuredTime | None = None
    """None if no step was tried."""
    resident: int | None = None
    """Peak of resident memory in bytes; None if no step was tried, or the tensors are elsewhere."""

    def compare(self, loop: Loop, context: RunContext) -> None:
        """Reports measured memory and time next to the expected; no time for a run whose length has changed."""
        emit, measured, progress = context.emit, peak_bytes(), loop.progress
        if self.resident and measured:
            emit(ResidentMeasured(self.resident, max(self.loaded, measured)))
        if self.time is not None and not progress.stopped and not progress.cycles:
            emit(TimeMeasured(self.time.run, progress.seconds))
            if context.recipe.model.compile is not True:
                keep_faster(self.key, loop.pace.seconds_per_token(), emit)
            emit(CommandMeasured(self.so_far + self.time.run + self.time.evaluation, time.time() - self.begun))


def expect(
    plan: RunPlan, network: Any, batches: BatchPlan, key: str, loading: float, begun: float
) -> tuple[RunContext, Expected]:
    """The run with its blocks compiled if that is worthwhile, and what it is expected to take, which is reported.

    Args:
        plan: of the run; everything in its recipe but compiling is resolved.
        network: trainable; its weights and the random state are unchanged.
        batches: of the training rows; its micro-batches may become smaller.
        key: of the cached pace.
        loading: seconds of loading the base model.
        begun: when the command was given, in seconds since 1970.
    """
    resident, loaded = resident_bytes(), peak_bytes() or 0
    known = _known_pace(plan, network, batches, key, loading)
    context, known = _compiled(network, plan.context, batches, known, key)
    expected = Expected(begun, key, max(loaded, peak_bytes() or 0))  # which starts again with the trial
    if known is None:
        return context, expected
    found, so_far = measured_time(known, batches, context), time.time() - begun
    pace, after, longest = found.tokens_per_second, found.evaluation, found.longest
    context.emit(TimePlanned(found.run, pace, so_far, after, known.others, longest))
    expected = replace(expected, so_far=so_far, time=found)
    if context.device.type != "cpu":
        return context, expected
    peak = max(expected.loaded, resident + known.grown + later_bytes(context.recipe.model.precision))
    context.emit(MemoryPredicted(peak, plan.budget.room + plan.budget.taken))
    return context, replace(expected, resident=peak)


def _known_pace(plan: RunPlan, network: Any, batches: BatchPlan, key: str, loading: float) -> KnownPace | None:
    """What a run takes.

    A trial is made unless memory is ample, and the time is known from an earlier run or so short that the first
    training steps show it soon enough.

    Args:
        plan: of the run.
        network: trainable; its weights and the random state are unchanged.
        batches: of the training rows; its micro-batches may become smaller.
        key: of the cached pace.
        loading: seconds of loading the base model.

    Returns:
        None if no step was tried, or none finished. With sharded weights none is tried: processes that try different
        numbers of steps would wait for each other.
    """
    if plan.context.is_sharded:
        return None
    known = once(plan.context.shared, "pace", lambda: key, lambda: _tried(plan, network, batches, key, loading))
    if known is not None:
        batches.micro_tokens = min(batches.micro_tokens, known.micro_tokens)
    return known


def _tried(plan: RunPlan, network: Any, batches: BatchPlan, key: str, loading: float) -> KnownPace | None:
    context, process = plan.context, plan.context.process
    questions = context.questions(min(MOST_TIMED, int(context.recipe.evaluate.answers)))
    if plan.bound is not None:
        if (known := process.decide(lambda: find_usable(key, bool(questions)))) is not None:
            return known
        if is_surely_short(plan, batches):
            return None
    context.emit(Stage("trying a few steps"))
    # several processes try at the same time, as they will train, but each by itself: how many steps depends on time
    known = try_run(network, context, batches, plan, questions, loading)
    if not process.is_alone:
        known = slowest(process.gather(known))
    if known is not None and process.is_main:
        keep_measured(key, known, context.emit)
    return known


def _compiled(
    network: Any, context: RunContext, batches: BatchPlan, known: KnownPace | None, key: str
) -> tuple[RunContext, KnownPace | None]:
    """The run with its blocks compiled if that is worthwhile, and its pace; of several processes the main one decides.

    Args:
        network: trainable; its weights and the random state are unchanged.
        context: of the run; everything else in its recipe is resolved.
        batches: of the training rows.
        known: what it takes uncompiled; None if that was not measured.
        key: of the cached pace.
    """
    process = context.process
    if context.is_sharded:
        # asking for compiled blocks is refused before, and where the plan may choose, nothing is tried
        return context.with_options(model={"compile": False}), known
    if process.is_main:
        context, known = _compiled_here(network, context, batches, known, key)
    recipe, known = process.decide(lambda: (context.recipe, known))
    context = context.with_recipe(recipe)
    if not process.is_main:
        compile_again(network, context, batches)
    return context, known


def _compiled_here(
    network: Any, context: RunContext, batches: BatchPlan, known: KnownPace | None, key: str
) -> tuple[RunContext, KnownPace | None]:
    if known is None:
        return choose_compiling(network, context, batches, None, None, key)[0], None
    pace, seconds = known.seconds_per_token, training_seconds(known, batches, context)
    context, faster = choose_compiling(network, context, batches, pace, seconds, key)
    return context, replace(known, seconds_per_token=faster or pace)
