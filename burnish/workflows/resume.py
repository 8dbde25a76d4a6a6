"""`burnish resume`: continues from the newest complete checkpoint as if the run had never stopped."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from burnish.engine.checkpoint import newest_usable, prune_checkpoints, restore_checkpoint, share_checkpoint
from burnish.engine.loop import Loop
from burnish.engine.process import ONE, Process
from burnish.engine.shard_files import check_shared
from burnish.errors import DataError
from burnish.lineage.chain import check_start
from burnish.lineage.manifest import check_base, draws_by_batch, has_same_data, note_session, processes_of
from burnish.lineage.saved_recipe import check_present, open_recipe
from burnish.models.compiled_blocks import undo_compiling
from burnish.plan.compiling import compile_again
from burnish.plan.known import remove_unfinished
from burnish.prepare.context import Emit, RunContext, prepare
from burnish.prepare.model import rebuild_loop
from burnish.prepare.shared import Shared
from burnish.prepare.start import check_start as check_present_start
from burnish.recipe.schema import Recipe
from burnish.report.page import write_pages
from burnish.runs.event_log import EventLog, drop_after, read_events
from burnish.runs.events import Adapted, Diagnosed, Listener, Note, Warned
from burnish.runs.folder import RunFolder, can_be_resumed, check_unfinished, is_evaluated
from burnish.runs.lock import Writer, write_lock
from burnish.trackers import tracked
from burnish.workflows.run import Run
from burnish.workflows.train import evaluate, unheard


def resume(
    folder: RunFolder, listeners: Iterable[Listener] = (), base_model: str | None = None, process: Process = ONE
) -> Run:
    """Trains an interrupted run to its end.

    Several processes each call it. The main one alone reads and writes the run folder and reports events.

    Args:
        folder: of the run.
        listeners: receive every event.
        base_model: folder of its base model, if it has been moved.
        process: of those that train the run together, which may be more or fewer than before.

    Raises:
        InputError: the run is already finished, or its recipe was edited.
        DataError: the data has changed since the run started.
        ModelError: the base model has changed since the run started.
        Locked: another process writes the run.
    """
    if not process.is_main:
        with can_be_resumed(folder):
            return _resume(folder, base_model, None, unheard, process)
    check_unfinished(folder)
    with write_lock(folder.path, "trained") as killed, can_be_resumed(folder):
        check_unfinished(folder)  # again: it may have been finished before the lock was free
        return _resume(folder, base_model, killed, EventLog(folder.path, listeners), process)


def resume_unless_finished(path: Path, listeners: Iterable[Listener], process: Process = ONE) -> Run:
    """Continues the run of processes that were started again; all of it may have been done by then.

    Args:
        path: of the run folder.
        listeners: receive every event.
        process: of those that train the run together.
    """
    folder = RunFolder(path)
    if process.decide(lambda: is_evaluated(folder) and folder.report.is_file()):
        return Run(folder)
    return resume(folder, listeners, process=process)


def resume_held(folder: RunFolder, emit: Emit, process: Process = ONE) -> Run:
    """Trains a run to its end, whose folder the main process has locked already.

    Args:
        folder: of the run.
        emit: receives every event.
        process: of those that train the run together.
    """
    return _resume(folder, None, None, emit, process)


def _resume(folder: RunFolder, base_model: str | None, killed: Writer | None, emit: Emit, process: Process) -> Run:
    recipe = process.decide(lambda: open_recipe(folder, base_model, needs_metric=True))
    if process.is_main:
        remove_unfinished()
    if process.decide(lambda: is_evaluated(folder)):
        emit(Note("Only the report and the model card were missing."))
    else:
        options = recipe.option_values()
        with tracked(recipe.track, options, folder, emit) if isinstance(emit, EventLog) else nullcontext():
            loop, context = continue_training(folder, recipe, killed, emit, process=process)
            evaluate(loop, context, folder)
    if process.is_main:
        write_pages(folder)
    return Run(folder)


def continue_training(
    folder: RunFolder,
    recipe: Recipe,
    killed: Writer | None,
    emit: Emit,
    shared: Shared | None = None,
    process: Process = ONE,
) -> tuple[Loop, RunContext]:
    """Trains an interrupted run to its last step.

    Args:
        folder: of the run, which this process has locked.
        recipe: of the run.
        killed: who was writing it when it ended, if anyone.
        emit: receives every event.
        shared: what the run has in common with others of this process.
        process: of those that train the run together.
    """
    check_present(folder, recipe)
    check_present_start(recipe)
    if killed is not None:
        emit(Note(f"Process {killed.process}, by which this run was {killed.doing}, ended without finishing."))
    context = prepare(recipe, emit, shared, process)
    if process.is_main:
        _check_ingredients(folder, context)
        if (began := processes_of(folder)) != process.world:
            emit(Note(_OTHER_NUMBER.format(began=began, now=process.world)))
    by_batch = process.decide(lambda: draws_by_batch(folder))
    loop, batches = rebuild_loop(replace(context, draws_by_batch=by_batch or context.draws_by_batch), folder)
    checkpoint = _choose_checkpoint(folder, emit) if process.is_main else None
    if context.is_sharded:
        check_shared(folder.path, process)
        checkpoint = process.decide(lambda: checkpoint)
    if checkpoint is not None:
        loop.progress = restore_checkpoint(checkpoint, loop.trainer)
        emit(Note(f"Continuing from step {loop.progress.step} of {loop.total_steps}."))
    loop.progress = share_checkpoint(loop.trainer, loop.progress)
    loop.progress.micro_tokens = batches.micro_tokens = loop.progress.micro_tokens or batches.micro_tokens
    compile_again(loop.trainer.network, context, batches)
    if process.is_main:
        step = loop.progress.step if checkpoint else -1
        prune_checkpoints(folder.checkpoints, recipe.save.keep, loop.progress.best_step)
        note_session(folder, loop.progress.step, context.device, process)
        drop_after(folder.metrics, step)
        drop_after(folder.events, step, _DECIDED_AGAIN)
        loop.watch.recall(read_events(folder.metrics), read_events(folder.events))
    loop.run()
    undo_compiling(loop.trainer.network)
    return loop, context


def _check_ingredients(folder: RunFolder, context: RunContext) -> None:
    """Checks that data and base model are those with which the run started."""
    if not has_same_data(folder, context.records.sha256):
        raise DataError(
            f"the data of the run `{folder.name}` has changed since it started",
            "Continuing with different rows would give a result that cannot be reproduced.",
            "Restore the data, or start a new run with `burnish train`",
        )
    check_base(folder, context.location)
    check_start(folder, context.recipe)


_OTHER_NUMBER = (
    "{began} began the run, and {now} continue it (number of processes): its steps have the same rows, but sums "
    "are added in another order, so the last digits of losses may differ."
)
_DECIDED_AGAIN = (Diagnosed.__name__, Adapted.__name__)
"""Events that follow from the steps and validations, which are done again."""


def _choose_checkpoint(folder: RunFolder, emit: Emit) -> Path | None:
    """The newest checkpoint that can be used; each later one is renamed, and reported with its damage.

    Under its own name it would count as the newest one, and the next to be saved would be deleted in its place.
    """
    checkpoint, skipped = newest_usable(folder.checkpoints)
    for name, damage in skipped.items():
        aside = folder.checkpoints / f"{name}.damaged"
        shutil.rmtree(aside, ignore_errors=True)
        (folder.checkpoints / name).rename(aside)
        emit(Warned(f"The checkpoint `{name}` cannot be used and is now called `{aside.name}`. {damage}"))
    if checkpoint is None:
        which = "Every checkpoint is damaged" if skipped else "There is no checkpoint yet"
        emit(Note(f"{which}, so the run starts over."))
    return checkpoint
