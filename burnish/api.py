"""Burnish from Python: the same recipe and the same workflows as the command line.

run = burnish.train("data.jsonl", model="seedling", epochs=2)
print(run.generate("..."))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from burnish.recipe.load import load_recipe
from burnish.recipe.names import expand
from burnish.system.machine import keep_few_products, yield_cores

if TYPE_CHECKING:
    from burnish.runs.events import Listener
    from burnish.workflows.run import Run


def train(
    data: str | Path,
    *,
    set: Mapping[str, Any] | None = None,  # noqa: A002  the same word as the command line's `--set`
    listeners: Sequence[Listener] = (),
    **options: Any,
) -> Run:
    """Fine-tunes a base model and returns the run.

    Example: `burnish.train("data.jsonl", model="seedling", epochs=2, set={"data.rows": 500})`

    Args:
        data: a data file, a folder, the name of a hub dataset, or a recipe ending in `.yaml`.
        set: options by their dotted names, for names that several sections share.
        listeners: called with every event of the run.
        options: options by the last part of their names; `model` is `model.name`.

    Raises:
        BurnishError: see `burnish.errors`; a `RecipeError` names every option that is wrong.
    """
    yield_cores()
    keep_few_products()
    flags = {expand(name): _plain(value) for name, value in options.items()}
    flags.update({name: _plain(value) for name, value in (set or {}).items()})
    loaded = load_recipe(str(data), flags, [])
    from burnish.workflows.train import train as run_training

    return run_training(loaded.recipe, loaded.origins, list(listeners))


def resume(run: str | Path, *, listeners: Sequence[Listener] = (), base_model: str | Path | None = None) -> Run:
    """Continues a run that was stopped, from its last whole checkpoint.

    Args:
        run: its name or path.
        listeners: called with every event of the run.
        base_model: folder of its base model, if it has been moved.

    Raises:
        BurnishError: no such run, or it has no checkpoint.
    """
    from burnish.runs.folder import find_run
    from burnish.workflows.resume import resume as resume_training

    return resume_training(find_run(str(run)), list(listeners), _plain(base_model))


def load_run(name: str | Path, runs: str | Path = "runs", base_model: str | Path | None = None) -> Run:
    """Opens a run by name or path, for example to call its `generate`.

    Args:
        name: of the run, or its path.
        runs: folder that holds the run folders.
        base_model: folder of its base model, if it has been moved.

    Raises:
        InputError: there is no such run.
    """
    from burnish.workflows.run import load_run as open_run

    return open_run(str(name), str(runs), _plain(base_model))


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
