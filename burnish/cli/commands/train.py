"""`burnish train DATA`, `burnish resume RUN` and `burnish quickstart`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.console import Console
from burnish.cli.options import (
    AUTO_PROCESSES,
    BaseModel,
    Processes,
    ProcessesOrAuto,
    RecipeFlags,
    Run,
    Runs,
    SomeData,
    Trust,
)
from burnish.cli.processes import launch, place_for
from burnish.errors import InputError
from burnish.runs.events import Warned
from burnish.system.machine import process_start

if TYPE_CHECKING:
    from burnish.cli.progress import Progress
    from burnish.engine.process import Process
    from burnish.recipe.load import LoadedRecipe
    from burnish.recipe.schema import Recipe
    from burnish.runs.paths import RunFolder
    from burnish.system.place import Place


ResumeFrom = Annotated[
    str | None,
    typer.Option(
        "--resume-from",
        metavar="RUN",
        help="Extend a run, or a checkpoint of one (`RUN@STEP`), in a folder of its own, without DATA: with "
        "`--set train.epochs=6` it is trained as long as that.",
        show_default=False,
    ),
]
OrResume = Annotated[
    bool,
    typer.Option(
        "--or-resume",
        metavar="",
        help="Continue the run of this `--name` if it has begun, and leave it if it is finished: for a job that a "
        "scheduler may start again.",
    ),
]


def train(
    console: Console,
    flags: RecipeFlags,
    data: SomeData = None,
    resume_from: ResumeFrom = None,
    or_resume: OrResume = False,
    processes: ProcessesOrAuto = None,
) -> None:
    """Fine-tune a base model on DATA and evaluate it against the base.

    DATA may also be a recipe: `burnish train recipe.yaml`. Of several DATA, all rows are used together.
    """
    if resume_from is not None:
        _extend(console, resume_from, data, flags, or_resume, processes)
        return
    if not data:
        raise InputError("`burnish train` needs DATA", "", "See `burnish train --help`")
    from burnish.cli.progress import Progress
    from burnish.cli.results import show_result
    from burnish.lineage.begun import begun_before
    from burnish.recipe.load import load_recipe

    loaded = load_recipe(data, flags.values, flags.sets)
    place = place_for(processes)
    if place is not None:
        _train_together(console, loaded, place, or_resume)
        return
    begun = begun_before(loaded) if or_resume else None
    number = _number_of(console, processes, loaded, begun)
    if number > 1:
        from burnish.prepare.first_checks import check_at_once, check_processes

        if begun is None:
            check_processes(loaded.recipe, number, number)
            check_at_once(loaded.recipe)
        raise typer.Exit(launch(console, number))
    with Progress(console, loaded.recipe) as progress:
        if begun is None:
            check_first(loaded, progress)
        from burnish.workflows.resume import resume_unless_finished
        from burnish.workflows.train import train as run_training

        if begun is not None:
            run = resume_unless_finished(begun.path, [progress])
        else:
            run = run_training(loaded.recipe, loaded.origins, [progress], process_start())
    show_result(console, run.path, progress.num_warnings)


def _number_of(console: Console, processes: int | str | None, loaded: LoadedRecipe, begun: RunFolder | None) -> int:
    """The number of processes that a new run, or one that has begun, is trained in."""
    if processes != AUTO_PROCESSES:
        return int(processes or 1)
    if begun is not None:
        raise InputError(
            f"`--processes {AUTO_PROCESSES}` measures the first steps of a new run, and `{begun.name}` has begun",
            "It may go on in any number of processes.",
            "Give a number: `--processes 2`",
        )
    from burnish.jobs.pace import choose_processes
    from burnish.prepare.first_checks import check_at_once

    def say(text: str) -> None:
        console.note(text)
        console.noted(text)

    check_at_once(loaded.recipe)
    console.note("measuring the first steps in one process and in more")
    return choose_processes(loaded, say)


def _extend(
    console: Console,
    run: str,
    data: list[str] | None,
    flags: RecipeFlags,
    or_resume: bool,
    processes: int | str | None,
) -> None:
    """Trains a run for longer, in a folder of its own."""
    from burnish.prepare.extension import read_extension

    if data:
        raise InputError(
            f"`{data[0]}` has no effect with `--resume-from`",
            "A run is extended on the rows that it has.",
            f"Leave it out, or train a new run on these rows: `burnish train {data[0]} --model {run}`",
        )
    if or_resume:
        raise InputError(
            "`--or-resume` has no effect with `--resume-from`",
            "A run is extended in a new folder.",
            "Leave it out; `burnish resume RUN` continues the longer run, once it has begun",
        )
    if processes == AUTO_PROCESSES:
        raise InputError(
            f"`--processes {AUTO_PROCESSES}` measures the first steps of a new run",
            "A run that is extended has none.",
            "Give a number: `--processes 2`",
        )
    place = place_for(processes)
    if place is not None and not place.is_main:
        from burnish.engine.process import join
        from burnish.workflows.extend import extend_beside

        with join(place) as process:
            extend_beside(process)
        return
    asked = read_extension(run, flags.values, flags.sets)
    if place is None and int(processes or 1) > 1:
        raise typer.Exit(launch(console, int(processes or 1)))
    from burnish.cli.progress import Progress
    from burnish.cli.results import show_result

    with Progress(console, asked.loaded.recipe) as progress:
        from burnish.engine.process import join
        from burnish.workflows.extend import extend

        with join(place) as process:
            extended = extend(asked, [progress], process)
    show_result(console, extended.path, progress.num_warnings)


def _train_together(console: Console, loaded: LoadedRecipe, place: Place, or_resume: bool) -> None:
    """Trains in one of several processes; in place of one that torchrun has ended, continues the run."""
    with progress_of(console, loaded.recipe, place) as progress:
        from burnish.engine.process import join

        with join(place) as process:
            from burnish.workflows.resume import resume_unless_finished
            from burnish.workflows.train import train as run_training

            listeners = [] if progress is None else [progress]
            earlier = _earlier_run(loaded, place, process, or_resume)
            if earlier is not None:
                run = resume_unless_finished(earlier, listeners, process)
            else:
                run = run_training(loaded.recipe, loaded.origins, listeners, process_start(), process)
    if progress is not None:
        from burnish.cli.results import show_result

        show_result(console, run.path, progress.num_warnings)


def _earlier_run(loaded: LoadedRecipe, place: Place, process: Process, or_resume: bool) -> Path | None:
    """The run that earlier processes of this launch have begun, or any with `--or-resume`; None for a new one."""
    from burnish.lineage.begun import begun_before
    from burnish.recipe.schema import AUTO

    is_again = process.any(place.attempt > 0)  # an agent that was started again itself counts from 0
    if is_again and (noted := process.run_before()) is not None:
        return noted
    if not or_resume and (not is_again or loaded.recipe.name == AUTO):
        return None
    begun = process.decide(lambda: begun_before(loaded))
    return None if begun is None else begun.path


@contextlib.contextmanager
def progress_of(console: Console, recipe: Recipe, place: Place) -> Iterator[Progress | None]:
    """The progress of the main process; None in the others, which show nothing."""
    from burnish.cli.progress import Progress

    if not place.is_main:
        yield None
        return
    with Progress(console, recipe) as progress:
        yield progress


def check_first(loaded: LoadedRecipe, progress: Progress) -> None:
    """Reports what is wrong, and what has no effect, before the libraries that take seconds to import.

    The workflow does the same again for its own callers; a warning that is repeated is shown once.
    """
    from burnish.prepare.first_checks import check_at_once
    from burnish.prepare.idle import idle_options, no_effect

    check_at_once(loaded.recipe)
    for option, reason in idle_options(loaded.recipe, loaded.origins).items():
        progress(Warned(no_effect(option, reason)))


def resume(
    console: Console,
    run: Run,
    base_model: BaseModel = None,
    trust: Trust = False,
    runs: Runs = "runs",
    processes: Processes = None,
) -> None:
    """Continue an interrupted run as if it had never stopped."""
    from burnish.cli.progress import Progress
    from burnish.cli.results import show_result
    from burnish.recipe.load import recipe_from_saved
    from burnish.runs.folder import check_unfinished, find_run
    from burnish.runs.lock import check_free

    place = place_for(processes)
    if place is not None and not place.is_main:
        _resume_beside(run, runs, base_model, place)
        return
    folder = find_run(run, runs, trust)
    check_free(folder.path, folder.path, "trained")
    check_unfinished(folder)
    if place is None and processes is not None and processes > 1:
        raise typer.Exit(launch(console, processes))
    saved = recipe_from_saved(folder.recipe)  # which may have been written elsewhere, under another name
    here = saved.model_copy(update={"runs": str(folder.path.parent), "name": folder.name})
    with Progress(console, here) as progress:
        from burnish.engine.process import join
        from burnish.workflows.resume import resume as resume_training

        with join(place) as process:
            resumed = resume_training(folder, [progress], base_model, process)
    show_result(console, resumed.path, progress.num_warnings)


def _resume_beside(run: str, runs: str, base_model: str | None, place: Place) -> None:
    """Resumes in a process beside the main one, which alone reads and writes the run folder."""
    from burnish.engine.process import join
    from burnish.runs.folder import RunFolder
    from burnish.workflows.resume import resume as resume_training

    path = Path(run) if Path(run).is_dir() else Path(runs) / run
    with join(place) as process:
        resume_training(RunFolder(path), [], base_model, process)


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
