"""Task, model and method: which are taken, and which do not go together."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

from burnish.errors import RecipeError
from burnish.methods.method import Method
from burnish.models.head import Head, is_supported
from burnish.models.kind import WORDS
from burnish.recipe.schema import AUTO, Recipe
from burnish.tasks.task import Task

WRITER, READER = "seedling", "acorn"
"""The bundled base models: one writes text, one labels it."""


def check_choices(recipe: Recipe, tasks: Iterable[str], methods: Iterable[str]) -> None:
    """Refuses a task or method that does not exist, before anything heavy begins.

    Raises:
        RecipeError: with the nearest name.
    """
    for option, value, known in (("task", recipe.task, [AUTO, *tasks]), ("method", recipe.method, [AUTO, *methods])):
        if value not in known:
            near = difflib.get_close_matches(value, known, n=1)
            names = ", ".join(f"`{name}`" for name in known)
            raise RecipeError(
                f"`{value}` is no {option}", f"There are {names}.", f"Did you mean `{near[0]}`?" if near else ""
            )


def check_shape(recipe: Recipe, shape: str, tasks: Sequence[str]) -> None:
    """The rows must be of use for the task that was asked for.

    Raises:
        RecipeError: naming the tasks that they are for.
    """
    if recipe.task not in (AUTO, *tasks):
        raise RecipeError(
            f"the rows do not fit the task `{recipe.task}`",
            f"They have the shape `{shape}`, which is for the task {_either(tasks)}.",
            "Leave `task` at `auto`, or map the columns with `--set data.columns.text=...`",
        )


def default_model(task: type[Task]) -> tuple[str, str]:
    """The bundled base model for a task, and why it.

    Raises:
        RecipeError: none of the bundled models can do it.
    """
    if task.kinds[0] == "masked":
        return READER, "the bundled model that labels text"
    if "causal" in task.kinds:
        return WRITER, "the bundled model that writes text"
    raise RecipeError(
        f"the task `{task.name}` needs a model to be named",
        f"It is for one that {' or '.join(WORDS[kind] for kind in task.kinds)}, and no such model is bundled.",
        "Add `--model` with a folder or a hub name",
    )


def choose_task(wanted: str, tasks: Sequence[type[Task]], kind: str, model: str) -> tuple[type[Task], str]:
    """The first task that both the rows and the model are for, and why it.

    Args:
        wanted: the name of a task, or `auto`.
        tasks: those that the shape of the rows is for, the likeliest first.
        kind: of the model, see `models/kind.py`.
        model: its name.

    Raises:
        RecipeError: the model cannot do it.
    """
    if wanted != AUTO:
        tasks = [task for task in tasks if task.name == wanted]
    for task in tasks:
        if kind in task.kinds:
            return task, "the shape of the rows" if task is tasks[0] else "the shape of the rows and the kind of model"
    named = _either([task.name for task in tasks])
    kinds = dict.fromkeys(kind for task in tasks for kind in task.kinds)
    raise RecipeError(
        f"`{model}` makes no sense for the task {named}",
        f"It {WORDS[kind]}; the task is for a model that {' or that '.join(WORDS[kind] for kind in kinds)}.",
        "Name another model with `--model`",
    )


def check_pair(task: type[Task], head: Head, method: Method, config: Any, model: str) -> None:
    """Refuses a task, a method and a model that make no sense together.

    Raises:
        RecipeError: naming them, with the reason.
    """
    if not is_supported(head, config):
        raise RecipeError(
            f"`{model}` makes no sense for the task `{task.name}`",
            f"transformers has no {head.auto_class.removeprefix('AutoModelFor')} model that could read the weights "
            f"of the type `{config.model_type}`.",
            "Name another model with `--model`",
        )
    reason = method.refuses(head, config)
    if reason:
        raise RecipeError(
            f"the method `{method.name}` makes no sense for the task `{task.name}` with `{model}`",
            reason,
            "Name another method, for example `--method lora`",
        )


def _either(names: Sequence[str]) -> str:
    return " or ".join(f"`{name}`" for name in names)
