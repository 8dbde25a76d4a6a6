"""The bundled recipes of `burnish quickstart`: a task on a model and rows that come with the package."""

from __future__ import annotations

import difflib
import functools
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from burnish.errors import RecipeError
from burnish.recipe.load import LoadedRecipe, load_recipe
from burnish.recipe.schema import BUNDLED_MODELS

_PREFIX = "quickstart-"


@dataclass(frozen=True, slots=True)
class QuickstartExample:
    """A quickstart as a page shows it."""

    task: str
    title: str
    """What a run learns."""
    rows: str
    """What the rows are, in a sentence."""


@functools.cache
def quickstart_examples() -> tuple[QuickstartExample, ...]:
    """Every quickstart, those that show most first."""
    import yaml

    found = yaml.safe_load((_folder() / "examples.yaml").read_text(encoding="utf-8"))
    return tuple(QuickstartExample(**one) for one in found)


def quickstart_recipe(task: str = "chat", runs: str = "runs", seed: int = 0) -> LoadedRecipe:
    """The recipe `assets/recipes/quickstart-TASK.yaml`.

    Args:
        task: a task that has such a recipe.
        runs: folder that holds the run folders.
        seed: of the split, the order of the rows and the adapter.

    Raises:
        RecipeError: there is no quickstart for the task.
    """
    recipes = {path.stem.removeprefix(_PREFIX): path for path in sorted(_folder().glob(f"{_PREFIX}*.yaml"))}
    if task not in recipes:
        near = difflib.get_close_matches(task, recipes, n=1)
        raise RecipeError(
            f"there is no quickstart for the task `{task}`",
            f"The quickstarts are {', '.join(f'`{name}`' for name in recipes)}.",
            f"Did you mean `{near[0]}`?" if near else "Choose one of these, or use `burnish train` with your own rows",
        )
    return load_recipe(str(recipes[task]), {"runs": runs, "seed": seed}, [])


def toy_remark(model: str, task: str) -> str:
    """That a bundled model is none to deliver, and how to find one; empty for every other model.

    Args:
        model: the name of the base model.
        task: that it is trained for.
    """
    if model not in BUNDLED_MODELS:
        return ""
    return f"`{model}` is a toy of 2 M parameters; for real work: `burnish models --task {task}`"


def _folder() -> Path:
    return Path(str(resources.files("burnish"))) / "assets" / "recipes"
