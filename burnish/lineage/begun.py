"""`burnish train --or-resume`: the same command begins a run, and continues it when a scheduler gives it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from burnish.errors import InputError, RecipeError
from burnish.recipe.load import LoadedRecipe, recipe_from_saved
from burnish.recipe.origins import DEFAULT
from burnish.recipe.schema import AUTO
from burnish.runs.folder import begun_at
from burnish.runs.paths import RunFolder
from burnish.system.shell import quoted

_ELSEWHERE = ("name", "runs", "model.name", "model.revision")
"""Options that name the run itself, or what `resume` compares by its contents."""


def begun_before(loaded: LoadedRecipe) -> RunFolder | None:
    """The run of the recipe's name, if it has begun; None where it is still to begin.

    Args:
        loaded: with the name of the run.

    Raises:
        InputError: the recipe names no run.
        RecipeError: that run has other options than the recipe asks for.
    """
    recipe = loaded.recipe
    if recipe.name == AUTO:
        raise InputError(
            "`--or-resume` needs the name of the run",
            "Without one, every command begins a new run.",
            "Give it one: `--name NAME`",
        )
    folder = RunFolder(Path(recipe.runs) / recipe.name)
    if begun_at(folder) is None:
        return None
    _check_same(loaded, folder)
    return folder


def _check_same(loaded: LoadedRecipe, folder: RunFolder) -> None:
    asked = loaded.recipe.model_dump(mode="json")
    # sections that the run does not use are not in its recipe
    saved = recipe_from_saved(folder.recipe).model_dump(mode="json", exclude_unset=True)
    for option, origin in loaded.origins.items():
        wanted, kept = _at(asked, option), _at(saved, option)
        is_kept = option.partition(".")[0] in saved
        if origin == DEFAULT or option in _ELSEWHERE or not is_kept or wanted in (AUTO, None, kept):
            continue
        raise RecipeError(
            f"the run `{folder.name}` began with another `{option}` than this command asks for",
            f"It has {kept!r}, and the command says {wanted!r}.",
            "Leave the option out, choose another `--name`, or continue it as it is: "
            f"`burnish resume {quoted(str(folder.path))}`",
        )


def _at(values: Any, option: str) -> Any:
    for part in option.split("."):
        values = values.get(part) if isinstance(values, dict) else None
    return values
