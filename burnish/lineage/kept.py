"""A checkpoint as a result: its weights in the layout of a finished run, so that every command can use it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from burnish.engine.checkpoint import damage_of, restore_weights
from burnish.errors import BurnishError
from burnish.lineage.manifest import check_base
from burnish.lineage.saved_recipe import check_present, open_recipe
from burnish.models.device import free_memory
from burnish.prepare.bare import bare_context
from burnish.prepare.context import Emit
from burnish.prepare.model import apply_method, load_network
from burnish.prepare.result import write_result
from burnish.runs.folder import RunFolder, result_of
from burnish.runs.paths import checkpoint_folder


def ready_result(folder: RunFolder, emit: Emit, base_model: str | None = None) -> Path:
    """The folder of a run's result; that of a checkpoint is written when it is first asked for.

    Args:
        folder: of the run, perhaps with the step of a checkpoint.
        emit: receives every event.
        base_model: folder of its base model, if it has been moved.

    Raises:
        InputError: the run has no result, or not this checkpoint.
        BurnishError: the checkpoint is damaged.
        ModelError: its base model is missing, or another one.
    """
    if folder.step is None or folder.result is not None:
        return result_of(folder)
    checkpoint = checkpoint_folder(folder, folder.step)
    if damage := damage_of(checkpoint):
        raise BurnishError(f"the checkpoint `{checkpoint}` is damaged", damage, "Use another one of the run")
    recipe = open_recipe(folder, base_model)
    check_present(folder, recipe)
    context = bare_context(recipe, emit)
    check_base(folder, context.location)
    base = load_network(context)
    context.task.objective.inspect_model(base.network)
    network = apply_method(replace(context, new_modules=base.new_modules), base)
    restore_weights(checkpoint, network)
    folder.of_result.mkdir(parents=True, exist_ok=True)
    write_result(network, context, folder)
    del base, network
    free_memory()
    return result_of(folder)
