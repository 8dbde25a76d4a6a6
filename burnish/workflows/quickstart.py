"""`burnish quickstart`: a task on what comes with the package; nothing is fetched."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from burnish.errors import RecipeError
from burnish.recipe.load import load_recipe
from burnish.runs.events import Listener
from burnish.workflows.run import Run
from burnish.workflows.train import train

_PREFIX = "quickstart-"


def quickstart(task: str = "chat", runs: str = "runs", seed: int = 0, listeners: Iterable[Listener] = ()) -> Run:
    """Fine-tunes a bundled model on a bundled sample, by the recipe `assets/recipes/quickstart-TASK.yaml`.

    Args:
        task: a task that there is such a recipe for.
        runs: folder that holds the run folders.
        seed: of split, order and adapter.
        listeners: told of every event.

    Raises:
        RecipeError: there is no quickstart for the task.
    """
    recipes = {path.stem.removeprefix(_PREFIX): path for path in sorted(_folder().glob(f"{_PREFIX}*.yaml"))}
    if task not in recipes:
        near = difflib.get_close_matches(task, recipes, n=1)
        raise RecipeError(
            f"there is no quickstart for the task `{task}`",
            f"There are {', '.join(f'`{name}`' for name in recipes)}.",
            f"Did you mean `{near[0]}`?" if near else "Take one of these, or `burnish train` with rows of your own",
        )
    loaded = load_recipe(str(recipes[task]), {"runs": runs, "seed": seed}, [])
    return train(loaded.recipe, loaded.origins, listeners)


def _folder() -> Path:
    return Path(str(resources.files("burnish"))) / "assets" / "recipes"
