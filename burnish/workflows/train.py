"""`burnish train`: from a recipe to a run folder.

    read rows ─► find model ─► encode ─► load and apply the method ─► run folder ─► loop ─► result ─► base against tuned

Nothing is written before data and model are known to be good, so bad input leaves no half-made run folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from burnish.data.batching.plan import BatchPlan
from burnish.engine.checkpoint import checkpoint_path, restore_weights
from burnish.engine.loop import Loop
from burnish.engine.progress import Progress
from burnish.engine.random_state import seed_everything
from burnish.engine.step import make_trainer
from burnish.engine.validation import HeldOut
from burnish.evaluate.comparison import Comparison
from burnish.evaluate.evaluation import compare
from burnish.lineage.manifest import manifest_of
from burnish.models.compiled_blocks import undo_compiling
from burnish.plan.budget import budget_here
from burnish.plan.compiling import choose_compiling
from burnish.plan.confirmation import confirm_step
from burnish.plan.run_plan import encode_to_fit
from burnish.plan.time import keep_measured, measured_time, step_key
from burnish.prepare.context import (
    Rows,
    Setting,
    describe_data,
    held_out_questions,
    left_out,
    make_plan,
    read_rows,
    set_up,
    unread_by,
)
from burnish.prepare.model import apply_method, load_network, look_at, prepare_rows, tell_stops, write_stops
from burnish.prepare.resolve import Resolver, resolve_rhythm, run_stem, total_steps, unread_options
from burnish.recipe.load import dump_recipe
from burnish.recipe.schema import AUTO, Recipe
from burnish.report.page import write_pages
from burnish.runs.atomic import write_folder, write_json, write_json_lines, write_text
from burnish.runs.events import EventLog, Finished, Listener, ResidentMeasured, Stage, TimeMeasured, TimePlanned, Warned
from burnish.runs.folder import RunFolder, create_run, fresh_name
from burnish.system.machine import forget_peak, peak_bytes
from burnish.workflows.check import check_briefly
from burnish.workflows.run import Run
from burnish.workflows.views import write_views


def train(recipe: Recipe, origins: Mapping[str, str] | None = None, listeners: Iterable[Listener] = ()) -> Run:
    """Fine-tunes a base model as the recipe says.

    Args:
        recipe: may hold `auto`; the saved one does not.
        origins: where each option came from, to report those that were given in vain.
        listeners: told of every event.

    Raises:
        InputError: recipe, data or model is wrong; nothing is written.
        MachineError: the device is missing, or the disk is full.
        Interrupted: Ctrl-C or SIGTERM; `resume` goes on from there.
    """
    emit = EventLog(None, listeners)
    records = read_rows(recipe, emit)
    resolver = Resolver(recipe, emit)
    resolver.fill("data.shape", records.shape.name, "the columns of the rows")
    setting = set_up(resolver, records, emit)
    budget = budget_here(setting.device, recipe.model.memory)
    rows, outlook = encode_to_fit(resolver, setting, records, budget, recipe.data.context == AUTO, emit)
    check_briefly(rows, setting, emit)
    key = step_key(setting, resolver.recipe, rows.training, outlook)
    for option in unread_options(dict(origins or {}), unread_by(setting)):
        told = f"`{option}` has no effect on the task `{setting.task.name}` by the method `{setting.method.name}`."
        emit(Warned(told))
    base = load_network(setting, resolver.recipe, emit)
    look_at(base, setting, resolver, emit)
    prepare_rows(base, rows, setting, resolver.recipe, emit)
    plan = make_plan(rows.training, setting, resolver.recipe)
    steps = total_steps(resolver.recipe, plan.steps_per_epoch)
    resolve_rhythm(resolver, steps)
    emit(describe_data(rows, plan, setting))
    if rows.rejected:
        emit(Warned(left_out(rows)))
    network = apply_method(base, setting, resolver.recipe, emit)
    emit(Stage("confirming the plan"))
    pace = confirm_step(network, setting, resolver.recipe, plan, outlook, emit)
    if pace is not None:
        keep_measured(key, pace, plan, emit)
    seconds = run_time(pace, rows, setting, plan, resolver.recipe)
    pace = choose_compiling(network, setting, resolver, plan, pace, seconds, key, emit)
    stem = run_stem(resolver.recipe)
    resolver.fill("name", fresh_name(Path(recipe.runs), stem), "data, model and method")
    folder = _begin_folder(resolver.recipe, rows, setting, emit)
    loop = make_loop(network, setting, rows, plan, resolver.recipe, folder, emit)
    loop.progress.micro_tokens = plan.micro_tokens
    planned = Planned(outlook.resident, plan_time(pace, loop, emit))
    seed_everything(recipe.seed)
    return finish(loop, setting, rows, folder, emit, planned)


def make_loop(
    network: Any,
    setting: Setting,
    rows: Rows,
    plan: BatchPlan,
    recipe: Recipe,
    folder: RunFolder,
    emit: EventLog,
) -> Loop:
    """Everything the loop needs, standing at step 0."""
    trainer = make_trainer(network, setting.task, setting.method, recipe, setting.device)
    held_out = HeldOut.of(make_plan(rows.validation, setting, recipe), rows.validation.owners)
    steps = total_steps(recipe, plan.steps_per_epoch)
    return Loop(trainer, plan, held_out, recipe, steps, folder.checkpoints, emit, Progress())


def finish(
    loop: Loop, setting: Setting, rows: Rows, folder: RunFolder, emit: EventLog, planned: Planned | None = None
) -> Run:
    """Runs the loop to its end, writes the best weights as the result and judges them against the base.

    Args:
        loop: standing wherever it is.
        setting: of the run.
        rows: whose held-out part is judged.
        folder: of the run.
        emit: told of every event.
        planned: what is compared with what it takes; None where there was no plan.
    """
    forget_peak()
    progress = loop.run()
    undo_compiling(loop.trainer.network)
    if planned is not None:
        tell_truth(planned, progress, emit)
    network = loop.trainer.network
    best = progress.best_step or progress.step
    if best != progress.step:
        restore_weights(checkpoint_path(folder.checkpoints, best), network)
    if reason := setting.method.unmoved(network):
        emit(Warned(_idle(reason, loop.recipe)))
    write_result(network, setting, folder)
    questions = held_out_questions(rows, setting, int(loop.recipe.evaluate.answers))
    comparison = compare(network, setting, rows, loop.recipe, questions, _held_out(rows), emit)
    write_json(folder.evaluation, comparison.to_dict())
    emit(_finished(best, comparison, progress.seconds, setting.method.result_folder(folder)))
    write_pages(folder)
    return Run(folder)


@dataclass(frozen=True, slots=True)
class Planned:
    """What a run was expected to take."""

    resident: int | None
    """Bytes of resident memory; None where the tensors are elsewhere."""
    seconds: float | None
    """Of training."""


def run_time(pace: float | None, rows: Rows, setting: Setting, plan: BatchPlan, recipe: Recipe) -> float | None:
    """Seconds of a run at a pace that was measured here."""
    if pace is None:
        return None
    held_out = make_plan(rows.validation, setting, recipe).padded_tokens(None)
    return measured_time(pace, plan, held_out, recipe).run


def plan_time(pace: float | None, loop: Loop, emit: EventLog) -> float | None:
    """Seconds that the loop will take at a pace that was measured here."""
    if pace is None:
        return None
    time = measured_time(pace, loop.plan, loop.held_out.padded_tokens(), loop.recipe)
    emit(TimePlanned(time.run, time.tokens_per_second))
    return time.run


def tell_truth(planned: Planned, progress: Progress, emit: EventLog) -> None:
    """Tells what the loop took, next to what was planned; of a run that ended early only the memory."""
    measured = peak_bytes()
    if planned.resident and measured:
        emit(ResidentMeasured(planned.resident, measured))
    if planned.seconds is not None and not progress.stopped:
        emit(TimeMeasured(planned.seconds, progress.seconds))


def write_result(network: Any, setting: Setting, folder: RunFolder) -> None:
    """The trained weights in their standard layout, with the tokenizer and its template beside them."""
    tell_stops(network, setting)
    with write_folder(setting.method.result_folder(folder)) as target:
        setting.method.save(network, target)
        setting.tokenizer.save_pretrained(str(target))
        setting.task.save_with(target)
        write_stops(setting, target)
        (target / "README.md").unlink(missing_ok=True)  # PEFT's card names folders of this machine; ours comes later


def _begin_folder(recipe: Recipe, rows: Rows, setting: Setting, emit: EventLog) -> RunFolder:
    """Makes the run folder and writes what is known before the first step."""
    folder = create_run(Path(recipe.runs), recipe.name)
    emit.attach(folder.path)
    emit(Stage("training"))
    folder.checkpoints.mkdir()
    write_json(folder.manifest, manifest_of(recipe, rows.records, setting.location, setting.device))
    if rows.rejected:
        write_json_lines(folder.rejected, [asdict(row) for row in rows.rejected])
    write_views(folder, rows, setting, recipe)
    write_text(folder.recipe, dump_recipe(recipe, unread_by(setting)))
    return folder


def _idle(reason: str, recipe: Recipe) -> str:
    return (
        f"The adapter changes nothing. {reason}. It is written, but will be refused wherever it is used. Raise "
        f"`train.learning_rate` (now {recipe.train.learning_rate}) or train for more steps."
    )


def _held_out(rows: Rows) -> str:
    return "held out from the training data" if rows.records.held_out else "the validation data"


def _finished(best: int, comparison: Comparison, seconds: float, result: Path) -> Finished:
    losses = [(figure.base.value, figure.tuned.value) for figure in comparison.figures if figure.name == "loss"]
    before, after = losses[0] if losses else (None, None)
    return Finished(best, before, after, seconds, str(result))
