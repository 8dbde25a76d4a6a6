"""`burnish train DATA`."""

from __future__ import annotations

from burnish.cli.arguments import Data
from burnish.cli.console import Console
from burnish.cli.flags import RecipeFlags


def train(console: Console, data: Data, flags: RecipeFlags) -> None:
    """Fine-tune a base model on DATA, and judge it against the base.

    DATA may also be a recipe: `burnish train recipe.yaml`.
    """
    from burnish.cli.progress import Progress
    from burnish.cli.results import show_result
    from burnish.recipe.load import load_recipe

    loaded = load_recipe(data, flags.values, flags.sets)
    with Progress(console) as progress:
        from burnish.workflows.train import train as run_training

        run = run_training(loaded.recipe, loaded.origins, [progress])
    show_result(console, run.path)
