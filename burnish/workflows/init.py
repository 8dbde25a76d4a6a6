"""`burnish init DATA`: a commented recipe for rows, to be edited and trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.prepare.context import name_model, read_rows
from burnish.prepare.resolve import Resolver
from burnish.recipe.load import LoadedRecipe
from burnish.recipe.origins import DEFAULT
from burnish.recipe.quickstart import toy_remark
from burnish.recipe.schema import AUTO
from burnish.recipe.starter import starter_recipe
from burnish.runs.atomic import write_text
from burnish.runs.event_log import EventLog
from burnish.runs.events import Listener
from burnish.tasks import task_names_for, task_sections

_USUAL = (
    "method",
    "name",
    "seed",
    "model.name",
    "data.path",
    "data.validation",
    "data.test",
    "data.context",
    "train.epochs",
    "train.learning_rate",
    "train.max_steps",
    "batch.tokens",
    "batch.rows",
)
"""Options that are changed most often, in the order of the schema; those of the task follow them."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a recipe was written for."""

    task: str
    model: str
    rows: int
    """Rows that were read, of all splits."""
    remark: str
    """What to know about the model before training; empty if there is nothing."""


def init(loaded: LoadedRecipe, out: Path, listeners: Iterable[Listener] = ()) -> Made:
    """Reads the rows and writes a recipe for them.

    Args:
        loaded: names the data, and what else is said about the run; may hold `auto`.
        out: the file to write.
        listeners: receive every event.

    Raises:
        DataError: the rows cannot be read, or have no known shape.
        RecipeError: the task has no bundled model, and none is named.
    """
    emit = EventLog(None, listeners)
    records = read_rows(loaded.recipe, emit)
    resolver = Resolver(loaded.recipe, lambda choice: None)
    name_model(resolver, records)
    recipe = resolver.recipe
    task = task_names_for(records.shape.record)[0] if recipe.task == AUTO else recipe.task
    said = {name: value_of(recipe, name) for name, origin in loaded.origins.items() if origin != DEFAULT}
    written = {"task": task, "model.name": recipe.model.name} | said
    written["data.path"] = _beside(recipe.data.named, out)
    sections = [f"{section}." for section in task_sections(task)]
    text = starter_recipe(written, _USUAL, sections, f"{records.shape.name} rows of {Path(recipe.data.named).name}")
    write_text(out, text)
    rows = len(records.train) + len(records.valid) + len(records.test)
    return Made(task, recipe.model.name, rows, toy_remark(recipe.model.name, task))


def value_of(recipe: Any, name: str) -> Any:
    """The value of an option by its dotted name, as YAML takes it."""
    value: Any = recipe.model_dump(mode="json")
    for part in name.split("."):
        value = value[part]
    return value


def _beside(path: str, out: Path) -> str:
    """A path as seen from the folder of the recipe, if it is below it; names of the hub stay as they are."""
    try:
        return Path(path).relative_to(out.absolute().parent).as_posix()
    except ValueError:
        return path
