"""The recipe of a run as its later commands use it: unchanged since the run began, and with the base model found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from burnish.errors import InputError, ModelError
from burnish.lineage.trust import trusted_recipe
from burnish.recipe.load import recipe_from_saved
from burnish.recipe.names import shown
from burnish.recipe.schema import Recipe
from burnish.runs.description import read_manifest
from burnish.runs.folder import RunFolder
from burnish.system.machine import expanded

_FREE = (
    "name",
    "runs",
    "data.path",
    "data.validation",
    "data.test",
    "model.name",
    "model.revision",
    "model.device",
    "model.memory",
    "model.allow_pickle",
    "model.trust_remote_code",
    "start.path",
    "evaluate.answers",
    "evaluate.general",
    "evaluate.general_tokens",
    "evaluate.max_new_tokens",
    "evaluate.metric",
    "save.every",
    "save.keep",
)
"""Options that may be edited: they do not change the weights, or name what is compared by its content."""


def open_recipe(folder: RunFolder, base_model: str | None = None, needs_metric: bool = False) -> Recipe:
    """Reads the recipe of a run, without what it may not do.

    Args:
        folder: of the run.
        base_model: folder of its base model, if it has been moved; its content is compared by `check_base`.
        needs_metric: whether answers are evaluated; otherwise `evaluate.metric` is left out.

    Raises:
        InputError: an option was edited after the run began, or one runs code and the user has not said that it may.
        ModelError: the base model is not where it was, or `base_model` is not a folder.
    """
    recipe = recipe_from_saved(folder.recipe)
    _check_edits(folder, recipe)
    recipe = trusted_recipe(folder, recipe, needs_metric)
    if base_model is None:
        return recipe
    place = expanded(base_model).absolute()
    if not place.is_dir():
        raise ModelError(
            f"there is no model folder `{base_model}`",
            "`--base-model` names the folder of the run's base model.",
            "Check the path",
        )
    return recipe.with_options(model={"name": str(place)})


def check_present(folder: RunFolder, recipe: Recipe) -> None:
    """Checks that a base model in a local folder is still there.

    Raises:
        ModelError: it is not.
    """
    place = Path(recipe.model.name)
    if place.is_absolute() and not place.is_dir():
        raise ModelError(
            f"the base model of the run `{folder.name}` is no longer in `{place}`",
            "It was trained on the model in that folder.",
            "If the folder was moved, add `--base-model` with its new place",
        )


def _check_edits(folder: RunFolder, recipe: Recipe) -> None:
    """Raises InputError if an option that determines the weights is not as it was when the run began."""
    began = read_manifest(folder).get("recipe")
    if not isinstance(began, dict):
        return  # a run of an earlier version
    now = recipe.option_values()
    edited = [
        (name, then, now[name])
        for name, then in _flat(began).items()
        if name in now and name not in _FREE and now[name] != then
    ]
    if edited:
        name, then, found = edited[0]
        more = f", and {len(edited) - 1} more" if len(edited) > 1 else ""
        raise InputError(
            f"the recipe of the run `{folder.name}` was edited after it began: `{name}` was {shown(then)} and is "
            f"{shown(found)}{more}",
            "What was trained before and what follows would belong to different recipes.",
            f"Put the value back in `{folder.recipe}`, or start a new run: `burnish train {folder.recipe} --name NAME`",
        )


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    """Options by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found.update({f"{name}.{last}": inner for last, inner in value.items()})
        else:
            found[name] = value
    return found
