"""`burnish train DATA`, `burnish resume RUN` and `burnish quickstart`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.console import Console
from burnish.cli.options import BaseModel, Data, RecipeFlags, Run, Runs, Trust
from burnish.runs.events import Warned
from burnish.system.machine import process_start

if TYPE_CHECKING:
    from burnish.cli.progress import Progress
    from burnish.recipe.load import LoadedRecipe


def train(console: Console, data: Data, flags: RecipeFlags) -> None:
    """Fine-tune a base model on DATA and evaluate it against the base.

    DATA may also be a recipe: `burnish train recipe.yaml`.
    """
    from burnish.cli.progress import Progress
    from burnish.cli.results import show_result
    from burnish.recipe.load import load_recipe

    loaded = load_recipe(data, flags.values, flags.sets)
    with Progress(console, loaded.recipe) as progress:
        check_first(loaded, progress)
        from burnish.workflows.train import train as run_training

        run = run_training(loaded.recipe, loaded.origins, [progress], process_start())
    show_result(console, run.path, progress.num_warnings)


def check_first(loaded: LoadedRecipe, progress: Progress) -> None:
    """Reports what is wrong, and what has no effect, before the libraries that take seconds to import.

    The workflow does the same again for its own callers; a warning that is repeated is shown once.
    """
    from burnish.prepare.first_checks import check_at_once
    from burnish.prepare.idle import idle_options, no_effect

    check_at_once(loaded.recipe)
    for option, reason in idle_options(loaded.recipe, loaded.origins).items():
        progress(Warned(no_effect(option, reason)))


def resume(console: Console, run: Run, base_model: BaseModel = None, trust: Trust = False, runs: Runs = "runs") -> None:
    """Continue an interrupted run as if it had never stopped."""
    from burnish.cli.progress import Progress
    from burnish.cli.results import show_result
    from burnish.recipe.load import recipe_from_saved
    from burnish.runs.folder import check_unfinished, find_run
    from burnish.runs.lock import check_free

    folder = find_run(run, runs, trust)
    check_free(folder.path, folder.path, "trained")
    check_unfinished(folder)
    saved = recipe_from_saved(folder.recipe)  # which may have been written elsewhere, under another name
    here = saved.model_copy(update={"runs": str(folder.path.parent), "name": folder.name})
    with Progress(console, here) as progress:
        from burnish.workflows.resume import resume as resume_training

        resumed = resume_training(folder, [progress], base_model)
    show_result(console, resumed.path, progress.num_warnings)


Seed = Annotated[
    int,
    typer.Option("--seed", metavar="NUMBER", min=0, help="Seed of the split, the order of the rows and the adapter."),
]
Task = Annotated[
    str,
    typer.Option("--task", metavar="TASK", help="`chat`, `preference`, `classify`, `tag` or `span`."),
]


def quickstart(console: Console, task: Task = "chat", runs: Runs = "runs", seed: Seed = 0) -> None:
    """Fine-tune a bundled model on bundled data, before and after."""
    from burnish.cli.progress import Progress
    from burnish.cli.results import show_result
    from burnish.recipe.quickstart import quickstart_recipe

    loaded = quickstart_recipe(task, runs, seed)
    with Progress(console, loaded.recipe) as progress:
        check_first(loaded, progress)
        from burnish.workflows.train import train as run_training

        run = run_training(loaded.recipe, loaded.origins, [progress], process_start())
    show_result(console, run.path, progress.num_warnings)
