"""The run that the rules are measured on: a few rows, planned as training plans them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from burnish.errors import RecipeError
from burnish.methods import LIKELY_METHOD
from burnish.models.config import model_kind
from burnish.models.location import locate_model, read_config
from burnish.plan.run_plan import plan_run
from burnish.prepare.context import encode, open_context, read_rows
from burnish.prepare.model import inspect_base, load_network
from burnish.recipe.schema import AUTO, Recipe
from burnish.runs.event_log import EventLog
from burnish.runs.events import Resolved, Stage
from burnish.selftest.workbench import Bench
from burnish.tasks import CONVERSATION, USUAL_TASKS, task_facts, task_names

ROWS, CONTEXT = 64, 256
"""Maximum rows, and tokens per row: enough to exercise every rule within a minute."""


def make_bench(recipe: Recipe, emit: EventLog) -> Bench:
    """Reads a few rows and plans a run on them, as training does; the rules are measured on that run.

    Raises:
        InputError: recipe, data or model is wrong.
        MachineError: the device is missing, or memory runs out.
    """
    recipe = _small(recipe)
    records = read_rows(recipe, emit)
    context = open_context(recipe, records, emit, _unreported)
    if recipe.data.context == AUTO and context.context_length > CONTEXT:
        context = context.with_options(data={"context": CONTEXT})
    context = plan_run(encode(context), report=_unreported).context
    context = inspect_base(context, load_network(context), _unreported)
    emit(Stage("measuring"))
    return Bench(context)


def _unreported(choice: Resolved) -> None:
    """Drops the resolved options: they are not what the user asked for."""


def _small(recipe: Recipe) -> Recipe:
    """The recipe with few rows; bundled ones if it names no data."""
    if not recipe.data.path:
        recipe = recipe.with_options(data={"path": str(_sample(recipe))})
    if recipe.data.rows is None:
        recipe = recipe.with_options(data={"rows": ROWS})
    return recipe.model_copy(update={"method": LIKELY_METHOD}) if recipe.method == AUTO else recipe


def _sample(recipe: Recipe) -> Path:
    """Bundled rows for the task, or for what the model is usually trained to do.

    Raises:
        RecipeError: there are none for the task.
    """
    task = recipe.task
    if task == AUTO:
        task = USUAL_TASKS.get("causal" if recipe.model.name == AUTO else _kind(recipe), CONVERSATION)
    sample = task_facts(task).sample if task in task_names() else ""
    if not sample:
        raise RecipeError(
            f"Burnish has no bundled rows for the task `{task}`", "", "Use your own rows: `burnish selftest DATA`"
        )
    return Path(str(resources.files("burnish"))) / "assets" / "samples" / sample


def _kind(recipe: Recipe) -> str:
    return model_kind(read_config(locate_model(recipe.model), recipe.model))
