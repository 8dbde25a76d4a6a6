"""Models without rows: the recipe of a base model alone, and the context in which that of a run is loaded."""

from __future__ import annotations

from pathlib import Path

from burnish.data.rows.dataset import Records
from burnish.data.rows.patterns import BY_NAME
from burnish.data.rows.row import ColumnMap
from burnish.data.rows.shapes import Shape
from burnish.methods import make_method
from burnish.models.base import load_tokenizer
from burnish.models.config import model_kind
from burnish.models.device import choose_device, choose_precision, compute_repeatably
from burnish.models.location import ModelLocation, locate_model, read_config
from burnish.models.tokenizer import choose_pad_token
from burnish.prepare.context import PLAIN_TEXT, Emit, RunContext
from burnish.recipe.schema import BUNDLED_MODELS, ModelSection, Recipe
from burnish.tasks import CONVERSATION, make_task, task_facts, task_names


def bare_recipe(name: str) -> Recipe | None:
    """The recipe of a base model alone, whose task is a conversation in the way of its kind; None if there is no such
    model.

    Args:
        name: one that comes with Burnish, or a folder.
    """
    if name not in BUNDLED_MODELS and not Path(name).is_dir():
        return None
    section = ModelSection(name=name)
    kind = model_kind(read_config(locate_model(section), section))
    chatting = [task for task in map(task_facts, task_names()) if task.generates and task.reads_turns]
    fitting = [task.name for task in chatting if kind in task.kinds]
    task = CONVERSATION if CONVERSATION in fitting or not fitting else fitting[0]
    return Recipe(task=task, model=section)


def bare_context(recipe: Recipe, emit: Emit, tokenizer_from: ModelLocation | None = None) -> RunContext:
    """A run without its rows: enough to load its base model, and to write or open a result.

    Args:
        recipe: with task, method and the options of both filled in.
        emit: receives every event.
        tokenizer_from: where the tokenizer is, if not with the base model.

    Raises:
        ModelError: there is no such model.
        MachineError: the device is missing.
    """
    section = recipe.model
    device = choose_device(section.device)
    compute_repeatably(device)
    location = locate_model(section)
    config = read_config(location, section)
    tokenizer = load_tokenizer(tokenizer_from or location, section)
    method = make_method(recipe.method)
    tokenizer.add_tokens(method.added_tokens(recipe))
    choose_pad_token(tokenizer, config, task_facts(recipe.task).auto_class)
    filled = recipe.with_options(
        model={"device": device.type, "precision": choose_precision(section.precision, device)[0]}
    )
    records = Records([], [], [], Shape(BY_NAME[PLAIN_TEXT], ColumnMap({}), ()), [], "", [])
    task = make_task(recipe.task, tokenizer, filled)
    return RunContext(filled, filled, records, location, config, tokenizer, task, method, device, emit)
