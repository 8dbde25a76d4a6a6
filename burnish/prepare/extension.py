"""A run that is extended: what may change in its recipe, and how many steps that adds.

The rule: the new run begins with the state of a checkpoint, which is weights, optimizer, random generators and the best
validation so far. From there on every step has the rows and the learning rate that a run of the new length has at that
step. Steps that are done keep what they had. So a run with a constant learning rate is the same, bit for bit, whether
it is extended or was that long from the beginning.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.errors import InputError, RecipeError
from burnish.recipe.load import LoadedRecipe, load_recipe
from burnish.recipe.origins import FLAG
from burnish.recipe.schema import AUTO
from burnish.runs.event_log import read_events
from burnish.runs.folder import RunFolder, find_run, fresh_name, steps_kept
from burnish.runs.lock import check_free
from burnish.system.shell import quoted

_CHANGEABLE = (
    "name",
    "runs",
    "train.epochs",
    "train.max_steps",
    "train.learning_rate",
    "train.head_learning_rate",
    "train.schedule",
    "train.warmup",
    "train.clip",
    "train.early_stopping",
    "train.patience",
    "model.memory",
    "evaluate.*",
    "save.*",
)
"""Options that may differ in the longer run, as patterns."""


@dataclass(frozen=True, slots=True)
class Extension:
    """A run, and the recipe of the longer one."""

    run: RunFolder
    """With the step of a checkpoint, if one was named."""
    loaded: LoadedRecipe
    total_steps: int
    """Of the longer run."""


def read_extension(name: str, values: Mapping[str, Any], sets: Sequence[str], trusts_code: bool = False) -> Extension:
    """Reads which run is extended, and how; what is wrong is refused before anything heavy is loaded.

    Args:
        name: a run or a checkpoint of one, by name or path.
        values: of named flags, by dotted name.
        sets: words like `train.epochs=6`.
        trusts_code: whether the user lets it run the code that its recipe names.

    Raises:
        MissingRun: there is no such run.
        InputError: it has no checkpoint, or a process writes it.
        RecipeError: an option cannot change, or the run would not get longer.
    """
    run = find_run(name, str(values.get("runs", "runs")), trusts_code, takes_step=True)
    check_free(run.path, run.path, "trained")
    kept = steps_kept(run)
    if not kept:
        raise InputError(
            f"the run `{run.name}` has no checkpoint to go on from",
            "A run is extended with its weights, its optimizer and its random generators, which a checkpoint holds.",
            f"Train a new run on it: `burnish train DATA --model {run.path}`",
        )
    run = RunFolder(run.path.absolute(), trusts_code, run.step)
    loaded = load_recipe(str(run.recipe), {**values}, sets)
    given = [option for option, origin in loaded.origins.items() if origin == FLAG]
    for option in given:
        if not any(fnmatch.fnmatch(option, pattern) for pattern in _CHANGEABLE):
            raise RecipeError(
                f"`{option}` cannot change in a run that is extended",
                "It continues with the rows, the weights and the optimizer that it has.",
                f"Leave it out, or train a new run that starts from this one: `burnish train DATA --model {run.named}`",
            )
    recipe = loaded.recipe
    if "runs" not in given:
        recipe = recipe.model_copy(update={"runs": str(run.path.parent)})
    if "name" not in given:
        recipe = recipe.model_copy(update={"name": fresh_name(Path(recipe.runs), f"{run.path.name}-extended")})
    # the number of steps is the user's, so the run does not change it by itself
    recipe = recipe.with_options(train={"adapt": False})
    done = kept[-1] if run.step is None else run.step
    total = _total(run, recipe)
    if total <= done:
        limit = f", and `train.max_steps` is {recipe.train.max_steps}" if recipe.train.max_steps else ""
        raise RecipeError(
            f"the run `{run.name}` would not get longer",
            f"It has {done:,} steps; `train.epochs` {recipe.train.epochs:g}{limit} make {total:,}.",
            f"Ask for more: `burnish train --resume-from {quoted(run.named)} --set train.epochs=...`"
            + (" --set train.max_steps=..." if recipe.train.max_steps else ""),
        )
    return Extension(run, LoadedRecipe(recipe, loaded.origins), total)


def _total(run: RunFolder, recipe: Any) -> int:
    """Steps of the longer run, from the steps an epoch that the run has logged.

    Raises:
        InputError: the run has logged no training.
    """
    started = [line for line in read_events(run.events) if line["event"] == "TrainingStarted"]
    if not started or recipe.train.epochs == AUTO:
        raise InputError(
            f"the run `{run.name}` has not begun its training",
            "",
            f"Begin it: `burnish resume {quoted(str(run.path))}`",
        )
    from burnish.prepare.resolve import total_steps

    per_epoch = round(started[0]["total_steps"] / started[0]["epochs"])
    return total_steps(recipe, per_epoch)
