"""Code that a recipe names runs only if the user wants it to: never because a recipe or a run folder says so.

A recipe can name Python code that comes with a model, weights stored as pickles, and a metric of the user's own. What
is given on the command line or in Python is the user's word. It is recorded in the user's own cache when a run begins,
so that it holds for the later commands of that run; any other run folder may come from someone else.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from burnish.errors import BurnishError, InputError
from burnish.recipe.load import code_options
from burnish.recipe.names import shown
from burnish.recipe.schema import Recipe
from burnish.runs.atomic import write_json
from burnish.runs.folder import RunFolder
from burnish.system.machine import cache_folder


def record_trust(folder: RunFolder, recipe: Recipe) -> None:
    """Records the options of a new run that run code, which the user has given.

    Without a record, as on a full disk, the later commands ask for `--trust`.
    """
    for name, value in code_options(recipe).items():
        facts = _facts(folder, recipe, name, value)
        record = _record(facts)
        try:
            record.parent.mkdir(parents=True, exist_ok=True)
            write_json(record, facts)
        except (OSError, BurnishError):
            return


def trusted_recipe(folder: RunFolder, recipe: Recipe, needs_metric: bool) -> Recipe:
    """The recipe as a later command of the run may use it.

    Args:
        folder: of the run, with the user's word on it.
        recipe: as saved in it.
        needs_metric: whether the command evaluates answers; otherwise the metric is left out.

    Raises:
        InputError: the recipe names code to run, and the user has not said that it may.
    """
    if not needs_metric and recipe.evaluate.metric:
        recipe = recipe.with_options(evaluate={"metric": None})
    asked = code_options(recipe)
    if folder.trusts_code or all(_record(_facts(folder, recipe, *option)).is_file() for option in asked.items()):
        return recipe
    named = ", ".join(f"`{name}: {shown(value)}`" for name, value in asked.items())
    raise InputError(
        f"the run `{folder.name}` asks to run code: {named}",
        "It was not begun here with these options, and a run folder may come from someone else.",
        "If you trust whoever made it, add `--trust`",
    )


def _facts(folder: RunFolder, recipe: Recipe, name: str, value: Any) -> dict[str, Any]:
    """What the user's word is about: in another folder or with another model it does not hold."""
    return {
        "run": str(folder.path.resolve()),
        "model": recipe.model.name,
        "revision": recipe.model.revision,
        name: value,
    }


def _record(facts: dict[str, Any]) -> Path:
    text = json.dumps(facts, sort_keys=True)
    return cache_folder() / "trusted" / f"{hashlib.sha256(text.encode('utf-8')).hexdigest()}.json"
