"""`burnish resume`: continues from the newest complete checkpoint as if the run had never stopped."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from burnish.engine.checkpoint import newest_usable, prune_checkpoints, restore_checkpoint
from burnish.engine.loop import Loop
from burnish.errors import DataError
from burnish.lineage.manifest import check_base, has_same_data, note_session
from burnish.lineage.saved_recipe import check_present, open_recipe
from burnish.models.compiled_blocks import undo_compiling
from burnish.plan.compiling import compile_again
from burnish.prepare.context import Emit, RunContext, prepare
from burnish.prepare.model import rebuild_loop
from burnish.prepare.shared import Shared
from burnish.recipe.schema import Recipe
from burnish.report.page import write_pages
from burnish.runs.event_log import EventLog, drop_after, read_events
from burnish.runs.events import Adapted, Diagnosed, Listener, Note, Warned
from burnish.runs.folder import RunFolder, can_be_resumed, check_unfinished, is_evaluated
from burnish.runs.lock import Writer, write_lock
from burnish.workflows.run import Run
from burnish.workflows.train import evaluate


def resume(folder: RunFolder, listeners: Iterable[Listener] = (), base_model: str | None = None) -> Run:
    """Trains an interrupted run to its end.

    Args:
        folder: of the run.
        listeners: receive every event.
        base_model: folder of its base model, if it has been moved.

    Raises:
        InputError: the run is already finished, or its recipe was edited.
        DataError: the data has changed since the run started.
        ModelError: the base model has changed since the run started.
        Locked: another process writes the run.
    """
    check_unfinished(folder)
    with write_lock(folder.path, "trained") as killed, can_be_resumed(folder):
        return _resume(folder, open_recipe(folder, base_model, needs_metric=True), killed, listeners)


def _resume(folder: RunFolder, recipe: Recipe, killed: Writer | None, listeners: Iterable[Listener]) -> Run:
    check_unfinished(folder)  # again: it may have been finished before the lock was free
    emit = EventLog(folder.path, listeners)
    if is_evaluated(folder):
        emit(Note("Only the report and the model card were missing."))
    else:
        loop, context = continue_training(folder, recipe, killed, emit)
        evaluate(loop, context, folder)
    write_pages(folder)
    return Run(folder)


def continue_training(
    folder: RunFolder, recipe: Recipe, killed: Writer | None, emit: Emit, shared: Shared | None = None
) -> tuple[Loop, RunContext]:
    """Trains an interrupted run to its last step.

    Args:
        folder: of the run, which this process has locked.
        recipe: of the run.
        killed: who was writing it when it ended, if anyone.
        emit: receives every event.
        shared: what the run has in common with others of this process.
    """
    check_present(folder, recipe)
    if killed is not None:
        emit(Note(f"Process {killed.process}, by which this run was {killed.doing}, ended without finishing."))
    context = prepare(recipe, emit, shared)
    if not has_same_data(folder, context.records.sha256):
        raise DataError(
            f"the data of the run `{folder.name}` has changed since it started",
            "Continuing with different rows would give a result that cannot be reproduced.",
            "Restore the data, or start a new run with `burnish train`",
        )
    check_base(folder, context.location)
    loop, batches = rebuild_loop(context, folder)
    checkpoint = _choose_checkpoint(folder, emit)
    if checkpoint is not None:
        loop.progress = restore_checkpoint(checkpoint, loop.trainer)
        emit(Note(f"Continuing from step {loop.progress.step} of {loop.total_steps}."))
    loop.progress.micro_tokens = batches.micro_tokens = loop.progress.micro_tokens or batches.micro_tokens
    prune_checkpoints(folder.checkpoints, recipe.save.keep, loop.progress.best_step)
    compile_again(loop.trainer.network, context, batches)
    note_session(folder, loop.progress.step, context.device)
    step = loop.progress.step if checkpoint else -1
    drop_after(folder.metrics, step)
    drop_after(folder.events, step, _DECIDED_AGAIN)
    loop.watch.recall(read_events(folder.metrics), read_events(folder.events))
    loop.run()
    undo_compiling(loop.trainer.network)
    return loop, context


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
