"""`burnish train`: from a recipe to a run folder.

    prepare ─► plan_run ─► load ─► fit ─► evaluate

A folder whose name was given is locked at once, so that the name cannot be taken meanwhile. Nothing else is written
before data and model have been checked, and bad input leaves no folder at all.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from burnish.check.token_view import write_views
from burnish.data.batching.batches import BatchPlan
from burnish.engine.checkpoint import bytes_written, share_weights
from burnish.engine.loop import Loop
from burnish.engine.process import ONE, Process
from burnish.engine.random_state import seed_everything
from burnish.engine.shard_files import check_shared
from burnish.evaluate.by_source import validation_by_source
from burnish.evaluate.evaluation import compare_with_base, foreseen_caveat
from burnish.export.vllm import remark_on_serving
from burnish.lineage.manifest import write_manifest, write_recipe
from burnish.lineage.trust import record_trust
from burnish.models.compiled_blocks import undo_compiling
from burnish.plan.budget import Budget
from burnish.plan.run_plan import RunPlan
from burnish.plan.shared_plan import plan_together
from burnish.plan.time import step_key
from burnish.plan.trial import Expected, expect
from burnish.prepare.context import Emit, RunContext, prepare
from burnish.prepare.first_checks import check_at_once, check_processes
from burnish.prepare.idle import warn_of_unused
from burnish.prepare.model import (
    apply_method,
    inspect_base,
    load_network,
    make_loop,
    measure_on_base,
    network_before,
)
from burnish.prepare.remarks import report_rejected, report_rows
from burnish.prepare.resolve import Resolver, resolve_by_steps, run_stem
from burnish.prepare.result import keep_best
from burnish.prepare.shared import Shared
from burnish.recipe.schema import AUTO, Recipe
from burnish.report.page import write_pages
from burnish.runs.atomic import flush, write_json, write_json_lines
from burnish.runs.event_log import EventLog, flush_logs
from burnish.runs.events import Event, Finished, Listener, Note, Stage
from burnish.runs.folder import NewRun, RunFolder, can_be_resumed, check_room
from burnish.system.machine import reset_peak, trim_heap
from burnish.trackers import tracked
from burnish.workflows.check import check_briefly
from burnish.workflows.run import Run
from burnish.workflows.start import begin_from


def train(
    recipe: Recipe,
    origins: Mapping[str, str] | None = None,
    listeners: Iterable[Listener] = (),
    begun: float | None = None,
    process: Process = ONE,
) -> Run:
    """Fine-tunes a base model as the recipe says.

    Several processes each call it with the same recipe. The main one alone writes the run folder and reports events.

    Args:
        recipe: may hold `auto`; the saved one does not.
        origins: where each option came from, to report those without effect.
        listeners: receive every event.
        begun: when the command was given, in seconds since 1970; None for now.
        process: of those that train the run together.

    Raises:
        InputError: recipe, data or model is wrong; nothing is written.
        MachineError: the device is missing, or the disk is full.
        Interrupted: Ctrl-C or SIGTERM; `resume` continues from there.
    """
    begun = begun or time.time()
    log = EventLog(None, listeners)
    if process.is_main:
        check_processes(recipe, process.local_world, process.world)
        check_at_once(recipe)
    with NewRun(Path(recipe.runs)) as new:
        if process.is_main and recipe.name != AUTO:
            new.take(recipe.name)
        emit = log if process.is_main else unheard
        recipe = begin_from(recipe, origins or {}, emit, process)
        model = load(plan_training(recipe, origins or {}, emit, process=process), begun)
        folder = process.decide(lambda: new.folder or new.take_fresh(run_stem(model.context.recipe)))
        model = model.with_name(folder.name)
        if process.is_main:
            begin_folder(model.context, folder, log)
            record_trust(folder, model.context.recipe)
        if model.context.is_sharded:
            check_shared(folder.path, process)
        process.note_run(folder.path)
        recipe = model.context.recipe
        options = recipe.option_values()
        with can_be_resumed(folder), tracked(recipe.track, options, folder, log) if process.is_main else nullcontext():
            loop = fit(model, folder)
            evaluate(loop, model.context, folder)
            if process.is_main:
                model.expected.compare(loop, model.context)
                write_pages(folder)
    return Run(folder)


def unheard(event: Event) -> None:
    """Receives the events of the processes beside the main one, which has the same."""


def plan_training(
    recipe: Recipe,
    origins: Mapping[str, str],
    emit: Emit,
    shared: Shared | None = None,
    budget: Budget | None = None,
    process: Process = ONE,
) -> RunPlan:
    """Everything about a run that is known before its base model is loaded; its rows are checked briefly.

    Args:
        recipe: may hold `auto`.
        origins: where each option came from.
        emit: receives every event.
        shared: what the run has in common with others.
        budget: the memory that may be used; None for this machine's.
        process: of those that train the run together.
    """
    planned = plan_together(prepare(recipe, emit, shared, process), budget)
    check_briefly(planned.context)
    warn_of_unused(origins, planned.context)
    remark_on_serving(planned.context)
    return planned


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A run that is ready for its first step: the trainable network, and a recipe with no `auto` left."""

    context: RunContext
    network: Any
    batches: BatchPlan
    """Of the training rows."""
    expected: Expected

    def with_name(self, name: str) -> LoadedModel:
        """The same run, called by the name of its folder."""
        resolver = Resolver(self.context.recipe, self.context.emit)
        resolver.fill("name", name, "data, model and method")
        return replace(self, context=self.context.with_recipe(resolver.recipe))


def load(plan: RunPlan, begun: float) -> LoadedModel:
    """Loads the base model, resolves what depends on it, applies the method and tries real steps.

    Args:
        plan: of the run.
        begun: when the command was given, in seconds since 1970.

    Raises:
        ModelError: the weights cannot be loaded.
    """
    key, context = step_key(plan), plan.context
    started = time.perf_counter()
    base = load_network(context)
    loading = time.perf_counter() - started
    context = inspect_base(context, base)
    network = network_before(context, base)
    context = measure_on_base(context, base.network if network is None else network)
    batches = context.batch_plan(context.training)
    resolver = Resolver(context.recipe, context.emit)
    resolve_by_steps(resolver, batches.steps_per_epoch, context.training.num_tokens)
    context = context.with_recipe(context.process.decide(lambda: resolver.recipe))
    report_rows(context, batches)
    if said := foreseen_caveat(context):
        context.emit(Note(said))
    report_rejected(context)
    if network is None:
        network = apply_method(context, base)
    context, expected = expect(replace(plan, context=context), network, batches, key, loading, begun)
    return LoadedModel(context, network, batches, expected)


def begin_folder(context: RunContext, folder: RunFolder, log: EventLog) -> None:
    """Writes into the run folder what is known before the first step.

    The recipe is last: with it, the folder is a run that can be resumed; without it, the folder is removed, or taken by
    the next run of its name.
    """
    log.attach(folder.path)
    log(Stage("training"))
    folder.checkpoints.mkdir()
    write_manifest(context, folder)
    if context.rejected:
        write_json_lines(folder.rejected, [asdict(row) for row in context.rejected])
    write_views(folder, context.training, context.task.encoder, context.tokenizer)
    flush_logs(folder.path)
    write_recipe(context, folder)
    flush(folder.path.parent)  # the name of the run folder itself


def fit(model: LoadedModel, folder: RunFolder) -> Loop:
    """Trains from the first step to the end."""
    loop = make_loop(model.context, model.network, model.batches, folder)
    if loop.process.is_main:
        check_room(folder.path, bytes_written(loop.trainer.network, model.context.recipe.save.keep))
    share_weights(loop.trainer.network, loop.process)
    loop.progress.micro_tokens = model.batches.micro_tokens
    seed_everything(model.context.recipe.seed)
    reset_peak()
    loop.run()
    undo_compiling(loop.trainer.network)
    trim_heap()
    return loop


def evaluate(loop: Loop, context: RunContext, folder: RunFolder) -> None:
    """Writes the best weights as the result, and evaluates them against the base model.

    Args:
        loop: finished.
        context: of the run.
        folder: of the run.
    """
    network, progress = loop.trainer.network, loop.progress
    best = keep_best(loop, context, folder)
    loop.trainer.optimizer.state.clear()  # room for the base model, where it is loaded again
    findings = loop.watch.diagnosis.holding()
    comparison = compare_with_base(network, context, int(context.recipe.evaluate.answers), findings=findings)
    if context.process.is_main:
        comparison.add_validation(validation_by_source(folder, best))
        write_json(folder.evaluation, comparison.to_dict())
    before, after = comparison.losses
    result = str(context.method.result_folder(folder))
    context.emit(Finished(best, before, after, progress.seconds, result, progress.why_best()))
