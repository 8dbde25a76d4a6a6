"""`burnish evaluate`: base against tuned, on the run's held-out rows or on rows of your own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from burnish.data.dataset import Records
from burnish.data.records import content_hash
from burnish.errors import DataError
from burnish.evaluate.comparison import Comparison
from burnish.plan.resolve import Resolver
from burnish.recipe.load import recipe_from_saved
from burnish.recipe.schema import AUTO, Recipe
from burnish.runs.atomic import write_json
from burnish.runs.event_log import EventLog
from burnish.runs.events import Listener, Warned
from burnish.runs.folder import RunFolder
from burnish.workflows.judging import compare
from burnish.workflows.network import open_result
from burnish.workflows.origin import check_base, result_of, rows_of
from burnish.workflows.preparation import Emit, encode_rows, held_out_questions, read_rows, set_up


def evaluate(
    folder: RunFolder, data: str | None = None, listeners: Iterable[Listener] = (), answers: int = 200
) -> Comparison:
    """Judges a finished run against its base model.

    Args:
        folder: of the run.
        data: rows to judge on; None for the rows that the run held out, in which case `evaluation.json` is written
            anew.
        listeners: told of every event.
        answers: most rows that both models answer.

    Raises:
        InputError: the run has no result yet.
        DataError: the run's data has changed, so that its held-out rows are not known any more; or the rows of `data`
            are for another task.
        ModelError: the base model is not the one that the run was trained on.
    """
    result = result_of(folder)
    recipe = recipe_from_saved(folder.recipe)
    emit = EventLog(None, listeners)
    otherwise = f"Name other rows: `burnish evaluate {folder.path} other.jsonl`"
    records = _own_rows(recipe, data, emit) if data else rows_of(folder, recipe, otherwise, emit)
    setting = set_up(Resolver(recipe, emit), records, emit)
    check_base(folder, setting.location)
    rows = encode_rows(replace(records, train=[]), setting, recipe, emit)
    network = open_result(result, setting, recipe, emit)
    setting.task.adapt(network)
    described = f"`{data}`" if data else "held out from training"
    comparison = compare(network, setting, rows, recipe, held_out_questions(rows, setting, answers), described, emit)
    if not data:
        write_json(folder.evaluation, comparison.to_dict())
    return comparison


def _own_rows(recipe: Recipe, data: str, emit: Emit) -> Records:
    """All rows of another file as held-out rows; those that were trained on are named, for they flatter."""
    own = recipe.data.model_copy(update={"path": data, "validation": None, "rows": None, "shape": AUTO})
    records = read_rows(recipe.model_copy(update={"data": own, "task": AUTO}), emit)
    if recipe.task not in records.shape.tasks:
        raise DataError(
            f"the rows of `{data}` do not fit the run `{recipe.name}`",
            f"They have the shape `{records.shape.name}`, which is for the task `{records.shape.tasks[0]}`.",
            f"Name rows for the task `{recipe.task}`",
        )
    everything = [*records.train, *records.valid]
    trained = {content_hash(record) for record in read_rows(recipe, emit).train}
    shared = sum(content_hash(record) in trained for record in everything)
    if shared:
        emit(Warned(f"{shared} of the {len(everything)} rows were trained on; the figures flatter the tuned model."))
    return replace(records, valid=everything)
