"""What a run takes, found before it begins: from a trial of real steps, made now or by an earlier run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from burnish.data.batching.batches import BatchPlan
from burnish.plan.compiling import choose_compiling, compile_again
from burnish.plan.confirmation import try_run
from burnish.plan.known import KnownPace
from burnish.plan.run_plan import RunPlan
from burnish.plan.shared_plan import slowest
from burnish.plan.time import MOST_TIMED, find_usable, is_surely_short, keep_measured, training_seconds
from burnish.prepare.context import RunContext
from burnish.prepare.shared import once
from burnish.runs.events import Stage


def known_pace(plan: RunPlan, network: Any, batches: BatchPlan, key: str, loading: float) -> KnownPace | None:
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


def compiled(
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
