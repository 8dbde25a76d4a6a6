"""A run's loop as it stood before its first step, made again from the saved recipe."""

from __future__ import annotations

from burnish.engine.loop import Loop
from burnish.engine.random_state import seed_everything
from burnish.prepare.context import Rows, Setting, make_plan
from burnish.prepare.model import apply_method, load_network, prepare_rows
from burnish.recipe.schema import Recipe
from burnish.runs.events import EventLog
from burnish.runs.folder import RunFolder
from burnish.workflows.train import make_loop


def rebuild(setting: Setting, rows: Rows, recipe: Recipe, folder: RunFolder, emit: EventLog) -> Loop:
    """Loads base and method and stands at step 0, with the random state that the run began with.

    Args:
        setting: of the run.
        rows: encoded.
        recipe: as it was saved.
        folder: where checkpoints will go.
        emit: told of every event.

    Raises:
        ModelError: the base model cannot be loaded.
    """
    base = load_network(setting, recipe, emit)
    setting.task.objective.inspect_model(base.network)
    prepare_rows(base, rows, setting, recipe, emit)
    network = apply_method(base, setting, recipe, emit)
    loop = make_loop(network, setting, rows, make_plan(rows.training, setting, recipe), recipe, folder, emit)
    seed_everything(recipe.seed)
    return loop
