"""Burnish from Python: the same recipe and the same workflows as the command line.

run = burnish.train("data.jsonl", model="seedling", epochs=2)
print(run.generate("..."))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from burnish.errors import InputError
from burnish.recipe.load import LoadedRecipe, load_recipe
from burnish.recipe.names import expand
from burnish.system.machine import prepare_process
from burnish.system.place import Place, place_here

if TYPE_CHECKING:
    from burnish.runs.events import Listener
    from burnish.workflows.check import Checkup
    from burnish.workflows.run import Run, Sweep


def train(
    data: Any,
    *,
    set: Mapping[str, Any] | None = None,  # noqa: A002  the same word as the command line's `--set`
    listeners: Sequence[Listener] = (),
    processes: int | Literal["auto"] = 1,
    **options: Any,
) -> Run:
    """Fine-tunes a base model and returns the run.

    Example: `burnish.train("data.jsonl", model="seedling", epochs=2, set={"data.rows": 500})`

    A script that torchrun has started in several processes calls it in each of them, and trains one run.

    Args:
        data: a data file, a folder, the name of a hub dataset, or a recipe ending in `.yaml`; or the data itself, which
            is copied into the run folder: a list of dicts, a dict of columns, a DataFrame, a pyarrow Table, a
            `datasets.Dataset`, or a dict of these by split.
        set: options by their dotted names, for names that several sections share.
        listeners: called with every event of the run; of several processes that torchrun has started, in the first.
        processes: how many of this machine train the run together, as `--processes`; they are started for it.
        options: options by the last part of their names; `model` is `model.name`. `validation` and `test` may be
            data themselves.

    Raises:
        BurnishError: see `burnish.errors`; a `RecipeError` names every option that is wrong.
    """
    _check_number("train", processes)
    prepare_process()
    loaded = _load(data, set, options)
    if processes != 1 and _place() is None:
        return _train_in_several(loaded, processes, listeners)
    from burnish.engine.process import join
    from burnish.workflows.train import train as run_training

    with join(_place()) as process:
        heard = list(listeners) if process.is_main else []
        return run_training(loaded.recipe, loaded.origins, heard, process=process)


def _train_in_several(loaded: LoadedRecipe, processes: int | str, listeners: Sequence[Listener]) -> Run:
    """Trains in processes that are started for it."""
    from burnish.jobs.together import train_together
    from burnish.prepare.first_checks import check_at_once, check_processes
    from burnish.runs.events import Note
    from burnish.workflows.run import load_run as open_run

    check_at_once(loaded.recipe)
    if isinstance(processes, str):
        from burnish.jobs.pace import choose_processes

        def say(text: str) -> None:
            for listener in listeners:
                listener(Note(text))

        processes = choose_processes(loaded, say)
    check_processes(loaded.recipe, processes, processes)
    return open_run(str(train_together(loaded, processes, listeners)))


def sweep(
    data: Any,
    *,
    over: Mapping[str, Any],
    seeds: int = 1,
    trials: int | None = None,
    set: Mapping[str, Any] | None = None,  # noqa: A002  the same word as the command line's `--set`
    listeners: Sequence[Listener] = (),
    **options: Any,
) -> Sweep:
    """Trains runs that differ in a few options, ranks them on the validation rows, and evaluates the best.

    Example: `burnish.sweep("data.jsonl", over={"learning_rate": [1e-4, 3e-4], "rank": [8, 16]}).winner`

    Args:
        data: as `train` takes it.
        over: lists of values by the names of options; all combinations are trained. With `trials` also ranges, as
            `"1e-5..1e-3"`.
        seeds: how many seeds every setting is trained with; settings are then ranked by the mean.
        trials: how many settings Optuna chooses instead of all combinations.
        set: options of all runs by their dotted names.
        listeners: called with every event of every run.
        options: options of all runs, as `train` takes them; `name` is that of the sweep.

    Raises:
        BurnishError: see `burnish.errors`; a `RecipeError` names every option that is wrong.
    """
    _check_alone("sweep")
    prepare_process()
    first, flags = _stored(data, set, options)

    def make(values: Mapping[str, Any]) -> LoadedRecipe:
        return load_recipe(first, {**flags, **{name: _plain(value) for name, value in values.items()}}, [])

    from burnish.workflows.sweep import sweep as run_sweep

    return run_sweep(make, over, seeds, trials, list(listeners))


def check_data(
    data: Any,
    *,
    show: int = 0,
    set: Mapping[str, Any] | None = None,  # noqa: A002  the same word as the command line's `--set`
    listeners: Sequence[Listener] = (),
    **options: Any,
) -> Checkup:
    """Finds defects in data, like `burnish check`: returns facts, findings and a verdict; nothing is trained.

    Example: `burnish.check_data([{"prompt": "a", "completion": "b"}]).verdict`

    Args:
        data: as `train` takes it.
        show: number of rows to show token by token, in `views`.
        set: options by their dotted names.
        listeners: called with every event.
        options: options by the last part of their names.

    Raises:
        BurnishError: the data cannot be read, or an option is wrong.
    """
    prepare_process()
    loaded = _load(data, set, options)
    from burnish.workflows.check import check

    return check(loaded.recipe, list(listeners), show)


def _load(data: Any, dotted: Mapping[str, Any] | None, options: Mapping[str, Any]) -> LoadedRecipe:
    """The recipe for data and options; data that is no name is stored first."""
    name, flags = _stored(data, dotted, options)
    return load_recipe(name, flags, [])


def _stored(data: Any, dotted: Mapping[str, Any] | None, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The name of the data, which is stored if it has none, and the options by their dotted names."""
    flags = {expand(name): _plain(value) for name, value in options.items()}
    flags.update({name: _plain(value) for name, value in (dotted or {}).items()})
    objects = {name: flags[name] for name in _SPLITS if flags.get(name) is not None and not _is_name(flags[name])}
    if _is_name(data) and not objects:
        return str(data), flags
    from burnish.data.files.given import store_given, with_splits

    without = {**flags, **dict.fromkeys(objects)}
    load_recipe(str(data) if _is_name(data) else "data", without, [])  # a wrong option is reported before storing
    if _is_name(data):
        return str(data), {**flags, **{name: str(store_given(one)) for name, one in objects.items()}}
    return str(store_given(with_splits(data, *(objects.get(name) for name in _SPLITS)))), without


_SPLITS = ("data.validation", "data.test")


def _is_name(data: Any) -> bool:
    return isinstance(data, (str, Path))


def resume(
    run: str | Path,
    *,
    listeners: Sequence[Listener] = (),
    base_model: str | Path | None = None,
    trust: bool = False,
    processes: int = 1,
) -> Run:
    """Continues a run that was stopped, from its last whole checkpoint.

    Args:
        run: its name or path.
        listeners: called with every event of the run.
        base_model: folder of its base model, if it has been moved.
        trust: whether a run that was begun elsewhere may run the code that its recipe names.
        processes: how many of this machine train it together from here on, as `--processes`.

    Raises:
        BurnishError: no such run, or it has no checkpoint.
    """
    _check_number("resume", processes)
    prepare_process()
    from burnish.runs.folder import find_run

    place = _place()
    if processes != 1 and place is None:
        from burnish.jobs.together import run_together
        from burnish.runs.folder import check_unfinished
        from burnish.workflows.run import load_run as open_run

        check_unfinished(folder := find_run(str(run), trusts_code=trust))
        more = [*(["--base-model", str(base_model)] if base_model else []), *(["--trust"] if trust else [])]
        words = ["resume", str(folder.path), *more, "--processes", str(processes)]
        return open_run(str(run_together(words, listeners)), trust=trust)
    from burnish.engine.process import join
    from burnish.runs.paths import RunFolder
    from burnish.workflows.resume import resume as resume_training

    is_main = place is None or place.is_main
    folder = find_run(str(run), trusts_code=trust) if is_main else RunFolder(Path(run))
    with join(place) as process:
        return resume_training(folder, list(listeners) if is_main else [], _plain(base_model), process)


def extend(
    run: str | Path,
    *,
    set: Mapping[str, Any] | None = None,  # noqa: A002  the same word as the command line's `--set`
    listeners: Sequence[Listener] = (),
    trust: bool = False,
    **options: Any,
) -> Run:
    """Trains a run for longer, in one process and a run folder of its own, like `burnish train --resume-from`.

    Example: `burnish.extend("runs/sft", epochs=6)`

    Args:
        run: its name or path, or that of one of its checkpoints: `runs/sft@200`.
        set: options by their dotted names.
        listeners: called with every event of the run.
        trust: whether a run that was begun elsewhere may run the code that its recipe names.
        options: options by the last part of their names.

    Raises:
        BurnishError: no such run, it has no checkpoint, or an option cannot change.
    """
    _check_alone("extend")
    prepare_process()
    from burnish.prepare.extension import read_extension
    from burnish.workflows.extend import extend as run_extension

    flags = {expand(name): _plain(value) for name, value in options.items()}
    flags.update({name: _plain(value) for name, value in (set or {}).items()})
    return run_extension(read_extension(str(run), flags, [], trust), list(listeners))


def load_run(
    name: str | Path, runs: str | Path = "runs", base_model: str | Path | None = None, trust: bool = False
) -> Run:
    """Opens a run by name or path, for example to call its `generate`.

    Args:
        name: of the run, or its path; with `@` and a step, one of its checkpoints.
        runs: folder that holds the run folders.
        base_model: folder of its base model, if it has been moved.
        trust: whether a run that was begun elsewhere may run the code that its recipe names.

    Raises:
        InputError: there is no such run.
    """
    prepare_process()
    from burnish.workflows.run import load_run as open_run

    return open_run(str(name), str(runs), _plain(base_model), trust)


def _place() -> Place | None:
    """The place of this process among several that torchrun has started; None if it is alone."""
    place = place_here()
    return place if place is not None and place.world > 1 else None


def _check_number(name: str, processes: int | str) -> None:
    """Refuses a number of processes that cannot be.

    Raises:
        InputError: it is none, or torchrun has started another number.
    """
    place = _place()
    if processes != "auto" and not (isinstance(processes, int) and processes >= 1):
        raise InputError(
            f"`processes` is {processes!r}",
            "It is the number of processes that train a run together.",
            f"`burnish.{name}(..., processes=2)`",
        )
    if place is not None and processes not in (1, "auto", place.world):
        raise InputError(
            f"`processes={processes}` does not fit torchrun, which has started {place.world}",
            "Torchrun decides how many there are.",
            "Leave out `processes`",
        )


def _check_alone(name: str) -> None:
    """Refuses a script that torchrun runs in several processes, where each would do the same.

    Raises:
        InputError: it does.
    """
    place = _place()
    if place is not None:
        raise InputError(
            f"`burnish.{name}` runs in one process, and torchrun has started {place.world}",
            "Only `burnish.train` and `burnish.resume` share their work.",
            "Start the script without torchrun",
        )


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
