"""`burnish sweep DATA --over OPTION=VALUES`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from burnish.cli.console import Console
from burnish.cli.options import Data, RecipeFlags
from burnish.cli.ranking import show_sweep
from burnish.runs.events import Event, Note, TrainingStarted
from burnish.system.machine import process_start

if TYPE_CHECKING:
    from burnish.cli.progress import Progress

Over = Annotated[
    list[str] | None,
    typer.Option(
        "--over",
        metavar="OPTION=VALUES",
        help="An option with the values to try, as `train.learning_rate=1e-4,3e-4`. Repeat it for several: all "
        "combinations are trained. With `--trials` also a range, as `train.learning_rate=1e-5..1e-3`.",
        show_default=False,
    ),
]
Seeds = Annotated[
    int,
    typer.Option("--seeds", metavar="NUMBER", help="Train every setting with this many seeds, and rank by their mean."),
]
Trials = Annotated[
    int | None,
    typer.Option(
        "--trials",
        metavar="NUMBER",
        help="Let Optuna choose this many settings instead of training all combinations.",
        show_default=False,
    ),
]


def sweep(
    console: Console, data: Data, flags: RecipeFlags, over: Over = None, seeds: Seeds = 1, trials: Trials = None
) -> None:
    """Train runs that differ in a few options, and rank them.

    The rows are read and tokenized and the base model is loaded only once. The validation rows rank the runs; the best
    alone is evaluated on the test rows. The same command again continues a sweep that was stopped.
    """
    from burnish.cli.progress import Progress
    from burnish.prepare.sweep_checks import check_sweep
    from burnish.recipe.load import LoadedRecipe, load_recipe

    def make(values: Any) -> LoadedRecipe:
        return load_recipe(data, {**flags.values, **values}, flags.sets)

    words = over or []
    asked = check_sweep(make, words, seeds, trials)
    with Progress(console, asked.base.recipe) as progress:
        from burnish.workflows.sweep import sweep as run_sweep

        done = run_sweep(make, words, seeds, trials, [_Listener(progress)], process_start())
    show_sweep(console, done.to_dict(), progress.num_warnings)


class _Listener:
    """Shows the events of all runs: a sentence that several runs say once, and what was chosen only for the first."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._said = set[str]()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Note):
            if event.text in self._said:
                return
            self._said.add(event.text)
        self._progress(event)
        if isinstance(event, TrainingStarted):
            self._progress.drop_summary()
