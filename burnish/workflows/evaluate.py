"""`burnish evaluate`: base against tuned model, on the run's test rows or on other rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from burnish.data.rows.dataset import Records
from burnish.data.rows.records import Record, content_hash
from burnish.evaluate.by_source import validation_by_source
from burnish.evaluate.comparison import Comparison
from burnish.evaluate.evaluation import compare_with_base
from burnish.evaluate.harness import Harness, find_harness
from burnish.lineage.chain import check_start
from burnish.lineage.kept import ready_result
from burnish.lineage.manifest import check_base, has_same_data, rows_of
from burnish.lineage.saved_recipe import check_present, open_recipe
from burnish.prepare.context import Emit, RunContext, encode, open_context, other_rows, read_rows
from burnish.prepare.model import as_base, open_result
from burnish.recipe.schema import AUTO, Recipe
from burnish.report.page import write_pages
from burnish.runs.atomic import write_json
from burnish.runs.damage import DamagedRun
from burnish.runs.description import evaluation_of
from burnish.runs.event_log import EventLog
from burnish.runs.events import Listener, Stage, Warned
from burnish.runs.folder import RunFolder
from burnish.runs.lock import write_lock


def evaluate(
    folder: RunFolder,
    data: str | None = None,
    listeners: Iterable[Listener] = (),
    answers: int = 200,
    general: str | None = None,
    harness: Sequence[str] = (),
    base_model: str | None = None,
) -> Comparison:
    """Evaluates a finished run against its base model.

    Args:
        folder: of the run.
        data: rows to evaluate on; None for the run's test rows (validation rows if it has none), in which case
            `evaluation.json`, the report and the model card are rewritten.
        listeners: receive every event.
        answers: maximum number of rows that both models answer.
        general: texts outside the task, instead of the recipe's `evaluate.general`.
        harness: tasks of lm-evaluation-harness to run on both models as well.
        base_model: folder of its base model, if it has been moved.

    Raises:
        InputError: the run has no result yet, or the harness has no such task.
        DataError: the run's data has changed, so its test rows are unknown; or the rows of `data` are for another
            task.
        MachineError: the harness was requested but is not installed.
        ModelError: the base model is not the one that the run was trained on.
        Locked: `evaluation.json` would be rewritten, and another process writes the run.
    """
    asked = find_harness(harness) if harness else None
    recipe = _with_general(open_recipe(folder, base_model, needs_metric=True), general)
    if data:
        return evaluate_held(folder, recipe, data, EventLog(None, listeners), answers, asked, base_model)
    with write_lock(folder.path, "evaluated"):
        return evaluate_held(folder, recipe, None, EventLog(None, listeners), answers, asked, base_model)


def evaluate_held(
    folder: RunFolder,
    recipe: Recipe,
    data: str | None,
    emit: EventLog,
    answers: int,
    asked: Harness | None,
    base_model: str | None,
) -> Comparison:
    """`evaluate` for a run whose recipe is open, and whose folder no other process writes."""
    result = ready_result(folder, emit, base_model)
    check_present(folder, recipe)
    otherwise = f"Evaluate on other rows: `burnish evaluate {folder.path} other.jsonl`"
    if data:
        records, trained = _own_rows(folder, recipe, data, emit)
    else:
        records = rows_of(folder, recipe, otherwise, emit)
        trained = records.train
    context = open_context(recipe, records, emit)  # resolves options that are missing from runs of earlier versions
    if asked is not None:
        asked.check_task(context.task)
    check_base(folder, context.location)
    check_start(folder, recipe)
    context = encode(replace(context, records=replace(records, train=[])))
    context = replace(context, records=replace(records, train=trained))
    network = open_result(context, result)
    context.task.objective.inspect_model(network)
    comparison = compare_with_base(network, context, answers, data or "", _findings_of(folder))
    if asked is not None:
        _ask_harness(asked, network, context, comparison)
    if not data:
        comparison.add_validation(validation_by_source(folder))
        write_json(folder.evaluation, comparison.to_dict())
        if folder.step is None:
            write_pages(folder)
    return comparison


def _findings_of(folder: RunFolder) -> dict[str, str]:
    """The diagnoses that held at the end of its training; none in runs of earlier versions, or if they are damaged."""
    try:
        return (evaluation_of(folder) or {}).get("findings", {})
    except DamagedRun:
        return {}


def _with_general(recipe: Recipe, general: str | None) -> Recipe:
    if general is None:
        return recipe
    return recipe.with_options(evaluate={"general": general, "general_tokens": AUTO})


def _ask_harness(harness: Harness, network: object, context: RunContext, comparison: Comparison) -> None:
    """Runs the harness on both models and adds the figures to the comparison."""
    precision, tokenizer = context.recipe.model.precision, context.tokenizer
    room = harness.room(context.config, context.method.virtual_tokens(context.recipe))
    context.emit(Stage("lm-evaluation-harness on the base model"))
    with as_base(network, context) as reference:
        base = harness.run(reference, tokenizer, room, precision)
    context.emit(Stage("lm-evaluation-harness on the tuned model"))
    tuned = harness.run(network, tokenizer, room, precision)
    comparison.harness = harness.figures(base, tuned)


def _own_rows(folder: RunFolder, recipe: Recipe, data: str, emit: Emit) -> tuple[Records, Sequence[Record]]:
    """All rows of another file as test rows, and the training rows if they are still known.

    Warns about rows that are in both.
    """
    records = other_rows(recipe, data, emit)
    own = read_rows(recipe, emit)
    trained = {content_hash(record) for record in own.train}
    shared = sum(content_hash(record) in trained for record in records.test)
    if shared:
        number = len(records.test)
        emit(Warned(f"{shared} of the {number} rows were trained on, so the figures flatter the tuned model."))
    return records, own.train if has_same_data(folder, own.sha256) else []
