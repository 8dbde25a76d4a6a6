"""`burnish quickstart`: the main job on what comes with the package; nothing is fetched."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from burnish.recipe.load import load_recipe
from burnish.runs.events import Listener
from burnish.workflows.run import Run
from burnish.workflows.train import train


def quickstart(runs: str = "runs", seed: int = 0, listeners: Iterable[Listener] = ()) -> Run:
    """Fine-tunes seedling on the bundled orders, by the recipe in `assets/recipes/quickstart.yaml`.

    Args:
        runs: folder that holds the run folders.
        seed: of split, order and adapter.
        listeners: told of every event.
    """
    path = Path(str(resources.files("burnish"))) / "assets" / "recipes" / "quickstart.yaml"
    loaded = load_recipe(str(path), {"runs": runs, "seed": seed}, [])
    return train(loaded.recipe, loaded.origins, listeners)
