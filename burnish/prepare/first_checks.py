"""What is known of a run in its first second: checked before torch is imported and before a row is read."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from burnish.data.chat.template import try_template
from burnish.data.files.passages import is_own, read_passages
from burnish.data.files.sources import find_sources, looks_like_path
from burnish.errors import RecipeError
from burnish.methods import least_copies, method_names
from burnish.metrics.own_metric import load_metric
from burnish.models.location import ModelLocation, chat_templates, is_bundled
from burnish.prepare.start import locate_base, settle_start
from burnish.prepare.strategy import check_strategy
from burnish.recipe.schema import AUTO, BUNDLED_MODELS, NONE, ModelSection, Recipe
from burnish.runs.folder import check_new_run, check_room
from burnish.system.machine import expanded
from burnish.tasks import task_names
from burnish.trackers import check_trackers


def check_at_once(recipe: Recipe) -> None:
    """Checks names, paths, permissions and room for a new run. What would need the network is left for later.

    Raises:
        RecipeError: there is no such task, method or metric.
        DataError: a file of rows or texts is missing.
        ModelError: there is no such folder, or it is no base model.
        InputError: the name is taken or not valid, or a process trains that run now.
        MachineError: the disk is full or read-only.
    """
    check_options(recipe)
    runs = Path(recipe.runs)
    check_new_run(runs, None if recipe.name == AUTO else recipe.name)
    model = check_inputs(recipe)
    if model is not None and (copies := least_copies(recipe.method)):
        check_room(runs, copies * sum(file.stat().st_size for file in model.folder.glob("*.safetensors")))


def check_processes(recipe: Recipe, number: int, world: int) -> None:
    """Refuses what several processes cannot train together.

    Args:
        recipe: may hold `auto` values.
        number: of processes of this machine.
        world: of processes of all machines.

    Raises:
        RecipeError: the recipe names one device for all of them, or its weights cannot be sharded as it says.
    """
    device = recipe.model.device
    check_strategy(recipe, world, device.partition(":")[0])
    if number > 1 and device not in (AUTO, "cpu", "cuda"):
        raise RecipeError(
            f"`model.device` is `{device}`, and {number} processes need a device each",
            "Each trains on a GPU of its own, or on its share of the processor.",
            "Leave `model.device` at `auto`, or leave out `--processes`",
        )


def check_inputs(recipe: Recipe) -> ModelLocation | None:
    """Checks that rows and model are where the recipe says. Returns the model, if finding it took no network.

    Raises:
        DataError: a file of rows is missing.
        ModelError: there is no such folder, it is no base model, or its chat template does harm.
    """
    check_rows(recipe)
    recipe = settle_start(recipe)
    if recipe.model.name == AUTO or not _is_here(recipe.model):
        return None
    model = locate_base(recipe)
    for source in () if is_bundled(model) else chat_templates(model.folder):
        try_template(source)
    return model


def check_rows(recipe: Recipe) -> None:
    """Refuses rows, for training, validation or test, that `check_sources` refuses."""
    test = None if recipe.data.test == NONE else recipe.data.test
    names = [source.path for source in recipe.data.sources]
    for name in filter(None, (*names, recipe.data.validation, test)):
        check_sources(name)


def check_sources(name: str) -> None:
    """Refuses a file or folder of rows that is missing or has none; names of hub datasets are checked later.

    Raises:
        DataError: nothing of that name is here, or several files match.
    """
    if expanded(name).exists() or looks_like_path(name):
        find_sources(name)


def _is_here(model: ModelSection) -> bool:
    """Whether finding a model takes no network."""
    path = expanded(model.name)
    is_local = model.name in BUNDLED_MODELS or path.exists() or model.name.startswith((".", "/", "~"))
    return is_local or bool(os.environ.get("HF_HUB_OFFLINE"))


def check_options(recipe: Recipe) -> None:
    """Checks a recipe as far as possible before reading anything. Raises RecipeError, or MachineError if a package is
    missing."""
    check_choices(recipe, task_names(), method_names())
    _check_fractions(recipe)
    _check_weights(recipe)
    check_trackers(recipe.track)
    if recipe.evaluate.metric:
        # loaded only to find a mistake before training and not after it; the same goes for the passages
        load_metric(recipe.evaluate.metric)
    if is_own(recipe.evaluate.general):
        read_passages(recipe.evaluate.general)


def _check_fractions(recipe: Recipe) -> None:
    """Raises RecipeError if rows are held out for validation and test, and none would be left."""
    data = recipe.data
    if data.validation is None and data.test is None and data.validation_fraction + data.test_fraction >= 1:
        raise RecipeError(
            "`data.validation_fraction` and `data.test_fraction` leave no row to train on",
            f"Together they are {data.validation_fraction + data.test_fraction:g} of the rows.",
            "Lower one of them; a tenth each is usual",
        )


def _check_weights(recipe: Recipe) -> None:
    """Raises RecipeError if the shares of several sources cannot be had, or one is named twice."""
    sources = recipe.data.sources
    twice = next((one.path for at, one in enumerate(sources) if one.path in [two.path for two in sources[:at]]), "")
    if twice:
        raise RecipeError(
            f"`{twice}` is named twice in `data.path`",
            "Its rows would be trained on twice, and neither would have figures of its own.",
            "Name it once; a `weight` uses its rows more often",
        )
    weights = [one.weight for one in sources]
    total = sum(weight for weight in weights if weight is not None)
    if None in weights and total >= 1:
        raise RecipeError(
            f"the weights in `data.path` add up to {total:g}, and {weights.count(None)} of the sources have none",
            "A weight is the share of a source in the training rows, and those without one share the rest.",
            "Give weights that add up to less than 1, or give every source one",
        )


def check_choices(recipe: Recipe, tasks: Iterable[str], methods: Iterable[str]) -> None:
    """Rejects a task or method that does not exist, before any expensive work.

    Raises:
        RecipeError: naming the closest match.
    """
    for option, value, known in (("task", recipe.task, [AUTO, *tasks]), ("method", recipe.method, [AUTO, *methods])):
        if value not in known:
            near = difflib.get_close_matches(value, known, n=1)
            names = ", ".join(f"`{name}`" for name in known)
            raise RecipeError(
                f"there is no {option} `{value}`",
                f"Choose one of {names}.",
                f"Did you mean `{near[0]}`?" if near else "",
            )
