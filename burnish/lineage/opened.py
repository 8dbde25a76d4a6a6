"""A model that is opened to answer: a run with the base model that it was trained on, or a base model alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from burnish.errors import MissingRun
from burnish.lineage.kept import ready_result
from burnish.lineage.manifest import check_base
from burnish.lineage.saved_recipe import check_present, open_recipe
from burnish.methods import LIKELY_METHOD, make_method
from burnish.methods.method import Method
from burnish.models.answering import arrange_for_answers
from burnish.models.base import load_base, load_tokenizer
from burnish.models.device import PRECISIONS, choose_device, choose_precision
from burnish.models.ends import own_ends
from burnish.models.location import ModelLocation, locate_model, read_config
from burnish.prepare.bare import bare_recipe
from burnish.prepare.start import start_folder
from burnish.recipe.schema import AUTO, DataSection, Recipe
from burnish.recipe.section import CONTINUE
from burnish.runs.events import Event
from burnish.runs.folder import RunFolder, find_run
from burnish.tasks import CONVERSATION, make_task
from burnish.tasks.task import Task

Opener = Callable[[Method, Callable[[ModelLocation], Any], ModelLocation, Path | None, str], Any]
"""Returns the network of a model: from its method, what loads a base, where that is, the trained result, and the
precision. None where another program answers, so that only prompts are made and answers are read."""


def open_alone(
    method: Method, load: Callable[[ModelLocation], Any], location: ModelLocation, result: Path | None, precision: str
) -> Any:
    """The network of a model that shares nothing with others."""
    return load(location) if result is None else method.open(load, location, result)


@dataclass(frozen=True, slots=True)
class Opened:
    """A loaded model, and what has to be known of it to ask it something."""

    run: RunFolder | None
    """Whose result it is, or whose base; None for a base model alone."""
    is_base: bool
    """Whether it is a base model, without what a run learned."""
    base: str
    """Name of the base model."""
    method: str
    """Name of the method that trained it, or `auto` for a base model alone."""
    data: DataSection
    """How the rows are written that it learned from."""
    task: Task
    """What it was trained for."""
    conversation: Callable[[], Task]
    """Makes the task of answering turns with it, where its own task does not read any."""
    tokenizer: Any
    network: Any
    """In evaluation mode; None where another program has the weights."""
    device: torch.device
    precision: str
    """Of the arithmetic."""
    created: float
    """When it was written, in seconds since 1970."""


def open_named(
    name: str,
    base: bool = False,
    runs: str = "runs",
    base_model: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
    trusts_code: bool = False,
    opener: Opener = open_alone,
) -> Opened:
    """Opens a run by name or path, or a base model by name.

    Args:
        name: a run, or a base model such as `seedling`.
        base: use the run's base model.
        runs: folder that holds the run folders.
        base_model: folder of the run's base model, if it has been moved.
        kwargs: values for the chat template's variables, in place of those saved with the run.
        trusts_code: whether a run that was begun elsewhere may run the code that its recipe names.
        opener: loads the network, or takes one that is loaded already.

    Raises:
        InputError: there is neither a run nor a model of that name, or see `open_model`.
        ModelError: see `open_model`.
        RecipeError: see `open_model`.
    """
    try:
        run = find_run(name, runs, trusts_code, takes_step=True)
    except MissingRun:
        recipe = bare_recipe(name)
        if recipe is None:
            raise
        return open_model(recipe, None, kwargs=kwargs, opener=opener)
    return open_model(open_recipe(run, base_model), run, base, kwargs, opener, base_model)


def open_model(
    recipe: Recipe,
    run: RunFolder | None,
    base: bool = False,
    kwargs: Mapping[str, Any] | None = None,
    opener: Opener = open_alone,
    base_model: str | None = None,
) -> Opened:
    """Opens the model of a recipe.

    Args:
        recipe: names the model, task and method.
        run: the run whose result is used; None for the base model alone.
        base: use the base model instead of the run's result.
        kwargs: values for the chat template's variables, in place of the recipe's.
        opener: loads the network, or takes one that is loaded already.
        base_model: folder of the run's base model, if it has been moved.

    Raises:
        InputError: the run has no result yet.
        ModelError: the base model is needed, and is not the one that the run was trained on.
        RecipeError: the chat template never reads one of `kwargs`.
    """
    is_base = run is None or base
    recipe = recipe.with_options(template={"kwargs": {**recipe.template.kwargs, **(kwargs or {})}})
    section = recipe.model
    device = choose_device(section.device)
    precision = choose_precision(section.precision, device)[0]
    result = None if run is None else ready_result(run, _unheard, base_model)
    if base and recipe.start.how == CONTINUE:
        # the model that such a run began as is an adapter, too
        result, base = start_folder(recipe), False
    method = make_method(LIKELY_METHOD if recipe.method == AUTO else recipe.method)
    location = _weights_of(recipe, run, is_whole=method.trains_base and not base)
    tokenizer = load_tokenizer(location if result is None else ModelLocation(location.name, result, False), section)
    if run is None:
        ends = own_ends(location.folder, read_config(location, section), tokenizer)
        recipe = recipe.with_options(evaluate={"ends": tokenizer.convert_ids_to_tokens(ends)})
    task = make_task(recipe.task, tokenizer, recipe)

    def load(where: ModelLocation) -> Any:
        loading = method.loading(PRECISIONS[precision], device)
        return load_base(where, section, tokenizer, device, loading, task.objective.head).network

    network = opener(method, load, location, None if base else result, precision)
    if network is not None:
        network.eval()
        if task.generates:
            arrange_for_answers(network, precision)
    return Opened(
        run=run,
        is_base=is_base,
        base=section.name,
        method=recipe.method,
        data=recipe.data,
        task=task,
        conversation=partial(make_task, CONVERSATION, tokenizer, recipe),
        tokenizer=tokenizer,
        network=network,
        device=device,
        precision=precision,
        created=(location.folder if result is None else result).stat().st_mtime,
    )


def _weights_of(recipe: Recipe, run: RunFolder | None, is_whole: bool) -> ModelLocation:
    """Where the weights are that are loaded first: a result that is whole by itself, or the base model."""
    if run is None:
        return locate_model(recipe.model)
    if is_whole:
        return ModelLocation(recipe.model.name, run.path, False)
    check_present(run, recipe)
    location = locate_model(recipe.model)
    check_base(run, location)
    return location


def _unheard(event: Event) -> None:
    """Writing the result of a checkpoint has nothing to say that a prompt needs."""
