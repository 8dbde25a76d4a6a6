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
from burnish.data.files.given import keep_section
from burnish.data.rows.records import content_hash
from burnish.engine.checkpoint import bytes_written, checkpoint_path, damage_of, restore_weights, share_weights
from burnish.engine.loop import Loop
from burnish.engine.process import ONE, Process
from burnish.engine.progress import Progress
from burnish.engine.random_state import seed_everything
from burnish.engine.shard_files import check_shared
from burnish.errors import BurnishError
from burnish.evaluate.by_source import validation_by_source
from burnish.evaluate.comparison import Comparison
from burnish.evaluate.evaluation import FEWEST_COUNTED, compare_with_base
from burnish.export.vllm import remark_on_serving
from burnish.lineage.chain import chain_of
from burnish.lineage.manifest import manifest_of
from burnish.lineage.trust import record_trust
from burnish.models.compiled_blocks import undo_compiling
from burnish.models.sharded import is_sharded, save_whole
from burnish.plan.budget import Budget, later_bytes
from burnish.plan.known import KnownPace
from burnish.plan.run_plan import RunPlan
from burnish.plan.shared_plan import plan_together
from burnish.plan.time import MeasuredTime, keep_faster, measured_time, step_key
from burnish.plan.trial import compiled, known_pace
from burnish.prepare.context import Emit, RunContext, prepare
from burnish.prepare.final import caveat
from burnish.prepare.first_checks import check_at_once, check_processes
from burnish.prepare.idle import idle_options, no_effect, unused_options
from burnish.prepare.model import (
    apply_method,
    continued_network,
    inspect_base,
    load_network,
    make_loop,
    measure_on_base,
    unmoved,
)
from burnish.prepare.resolve import Resolver, resolve_by_steps, run_stem
from burnish.prepare.result import write_result
from burnish.prepare.shared import Shared
from burnish.recipe.load import dump_recipe
from burnish.recipe.schema import AUTO, Recipe
from burnish.report.page import write_pages
from burnish.runs.atomic import flush, write_json, write_json_lines, write_text
from burnish.runs.event_log import EventLog, flush_logs
from burnish.runs.events import (
    CommandMeasured,
    DataReady,
    Event,
    Finished,
    Listener,
    MemoryPredicted,
    Note,
    ResidentMeasured,
    Stage,
    TimeMeasured,
    TimePlanned,
    Warned,
)
from burnish.runs.folder import NewRun, RunFolder, can_be_resumed, check_room
from burnish.system.machine import peak_bytes, reset_peak, resident_bytes, trim_heap
from burnish.system.shell import quoted
from burnish.trackers import tracked
from burnish.workflows.check import check_briefly
from burnish.workflows.run import Run
from burnish.workflows.start import begin_from

_NAMED_ROWS = 3


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
        with can_be_resumed(folder), tracked(recipe, folder, log) if process.is_main else nullcontext():
            loop = fit(model, folder)
            evaluate(loop, model.context, folder)
            if process.is_main:
                report_accuracy(model, loop)
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


def warn_of_unused(origins: Mapping[str, str], context: RunContext) -> None:
    """Warns of each option that the user set and that this run does not use."""
    for option, reason in without_effect(origins, context).items():
        context.emit(Warned(no_effect(option, reason)))


def without_effect(origins: Mapping[str, str], context: RunContext) -> dict[str, str]:
    """The options that the user set and that this run does not use, each with the reason."""
    idle = idle_options(context.recipe, origins)
    if context.process.is_alone:
        for option in unused_options(origins, {"distributed"}):
            idle[option] = "one process trains this run; `--processes` starts several"
    for option in unused_options(origins, context.unread_sections()):
        idle.setdefault(option, f"the task is `{context.task.name}`, the method `{context.method.name}`")
    return idle


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A run that is ready for its first step: the trainable network, and a recipe with no `auto` left."""

    context: RunContext
    network: Any
    batches: BatchPlan
    """Of the training rows."""
    begun: float
    """When the command was given, in seconds since 1970."""
    so_far: float = 0.0
    """Seconds of the command before the training."""
    time: MeasuredTime | None = None
    """Expected; None if no step was tried."""
    resident: int | None = None
    """Expected peak of resident memory in bytes; None if no step was tried, or the tensors are elsewhere."""
    loaded: int = 0
    """Peak of resident memory until the first step."""
    key: str = ""
    """Of the cached pace."""

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
    network = continued_network(context, base)
    context = measure_on_base(context, base.network if network is None else network)
    batches = context.batch_plan(context.training)
    resolver = Resolver(context.recipe, context.emit)
    resolve_by_steps(resolver, batches.steps_per_epoch, context.training.num_tokens)
    context = context.with_recipe(context.process.decide(lambda: resolver.recipe))
    report_data(context, batches)
    if network is None:
        network = apply_method(context, base)
    resident, loaded = resident_bytes(), peak_bytes() or 0
    known = known_pace(replace(plan, context=context), network, batches, key, loading)
    context, known = compiled(network, context, batches, known, key)
    loaded = max(loaded, peak_bytes() or 0)  # which starts again with the trial
    model = LoadedModel(context, network, batches, begun, loaded=loaded, key=key)
    return model if known is None else _predicted(model, known, resident, plan.budget)


def report_data(context: RunContext, batches: BatchPlan) -> None:
    """Reports the numbers of rows and tokens, what the final comparison can show, and the rows that were left out.

    Args:
        context: of the run, encoded.
        batches: of the training rows.
    """
    records, final = context.records, context.final
    data = DataReady(
        shape=records.shape.name,
        task=context.task.name,
        training_rows=context.num_training_rows,
        validation_rows=context.num_validation_rows,
        test_rows=context.num_test_rows,
        rejected_rows=len(context.rejected),
        tokens=context.training.num_tokens,
        trained_tokens=context.training.num_trained,
        packed_rows=len(batches.rows),
    )
    context.emit(data)
    distinct = len({content_hash(record) for record in final.records})
    answered = len(context.final_questions(int(context.recipe.evaluate.answers)))
    shares = context.task.scorer.headline_is_share or answered >= FEWEST_COUNTED
    if final.number and (said := caveat(final.called, min(final.number, distinct), records.why_no_test, shares)):
        context.emit(Note(said))
    if context.rejected:
        first = "; ".join(f"{row.place}: {row.reason}" for row in context.rejected[:_NAMED_ROWS])
        more = len(context.rejected) - _NAMED_ROWS
        others = f"; and {more:,} more, all listed in `rejected.jsonl`" if more > 0 else ""
        context.emit(Warned(f"Left out: {first}{others}"))


def _predicted(model: LoadedModel, known: KnownPace, resident: int, budget: Budget) -> LoadedModel:
    """The run with its expected time and memory, which are reported.

    Args:
        model: of the run.
        known: what it takes.
        resident: bytes of the process before any step was tried.
        budget: of the plan.
    """
    context, batches = model.context, model.batches
    expected = measured_time(known, batches, context)
    so_far = time.time() - model.begun
    pace, after, longest = expected.tokens_per_second, expected.evaluation, expected.longest
    context.emit(TimePlanned(expected.run, pace, so_far, after, known.others, longest))
    model = replace(model, so_far=so_far, time=expected)
    if context.device.type != "cpu":
        return model
    peak = max(model.loaded, resident + known.grown + later_bytes(context.recipe.model.precision))
    context.emit(MemoryPredicted(peak, budget.room + budget.taken))
    return replace(model, resident=peak)


def begin_folder(context: RunContext, folder: RunFolder, log: EventLog) -> None:
    """Writes into the run folder what is known before the first step.

    The recipe is last: with it, the folder is a run that can be resumed; without it, the folder is removed, or taken by
    the next run of its name.
    """
    recipe = context.recipe
    log.attach(folder.path)
    log(Stage("training"))
    folder.checkpoints.mkdir()
    chain = chain_of(recipe)
    write_json(folder.manifest, {**manifest_of(context), **({"chain": chain} if chain else {})})
    if context.rejected:
        write_json_lines(folder.rejected, [asdict(row) for row in context.rejected])
    write_views(folder, context.training, context.task.encoder, context.tokenizer)
    saved = recipe.model_copy(update={"data": keep_section(recipe.data, folder.data)})
    flush_logs(folder.path)
    write_text(folder.recipe, dump_recipe(saved, context.unread_sections()))
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
    context.emit(_finished(best, comparison, progress, context.method.result_folder(folder)))


def keep_best(loop: Loop, context: RunContext, folder: RunFolder) -> int:
    """Restores the best weights of a finished loop, writes them as the result, and returns their step.

    Raises:
        BurnishError: the best checkpoint is damaged.
        MachineError: the disk is full.
    """
    network, progress = loop.trainer.network, loop.progress
    is_main, shards = context.process.is_main, is_sharded(network)
    best = progress.best_step or progress.step
    if best != progress.step and (is_main or shards):
        checkpoint = checkpoint_path(folder.checkpoints, best)
        if damage := context.process.decide(lambda: damage_of(checkpoint)) if shards else damage_of(checkpoint):
            raise BurnishError(
                f"the checkpoint `{checkpoint}`, the best one of the run, is damaged",
                damage,
                f"Train again from an earlier one: `burnish resume {quoted(str(folder.path))}`",
            )
        restore_weights(checkpoint, network)
    share_weights(network, context.process)
    if reason := unmoved(network, context):
        context.emit(Warned(_without_effect(reason, context.recipe)))
    if is_main:
        write_result(network, context, folder)
    elif shards:
        save_whole(network, None)
    return best


def report_accuracy(model: LoadedModel, loop: Loop) -> None:
    """Reports measured memory and time next to the predicted; no time for a run whose length has changed."""
    emit, measured, progress = model.context.emit, peak_bytes(), loop.progress
    if model.resident and measured:
        emit(ResidentMeasured(model.resident, max(model.loaded, measured)))
    if model.time is not None and not progress.stopped and not progress.cycles:
        emit(TimeMeasured(model.time.run, progress.seconds))
        if model.context.recipe.model.compile is not True:
            keep_faster(model.key, loop.pace.seconds_per_token(), emit)
        emit(CommandMeasured(model.so_far + model.time.run + model.time.evaluation, time.time() - model.begun))


def _without_effect(reason: str, recipe: Recipe) -> str:
    return (
        f"The adapter changes nothing. {reason}. It is saved, but every command that loads it will reject it. Raise "
        f"`train.learning_rate` (now {recipe.train.learning_rate}) or train for more steps."
    )


def _finished(best: int, comparison: Comparison, progress: Progress, result: Path) -> Finished:
    losses = [(figure.base.value, figure.tuned.value) for figure in comparison.figures if figure.name == "loss"]
    before, after = losses[0] if losses else (None, None)
    return Finished(best, before, after, progress.seconds, str(result), progress.why_best())
