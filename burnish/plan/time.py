"""The time of a run on this machine, from the pace of its trial, measured now or cached from an earlier command."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import torch

from burnish.data.batching.batches import BatchPlan
from burnish.data.tokens.tokens import token_counts
from burnish.engine.adaptation import most_steps
from burnish.models.config import model_kind
from burnish.models.fingerprint import fingerprint
from burnish.plan.confirmation import try_run
from burnish.plan.known import KnownPace, find_pace, keep_pace, pace_key
from burnish.plan.run_plan import RunPlan
from burnish.prepare.context import Emit, RunContext
from burnish.prepare.encode import Encoded
from burnish.prepare.model import apply_method, inspect_base, load_network
from burnish.prepare.resolve import reads_texts, total_steps
from burnish.recipe.schema import NONE
from burnish.runs.events import Note, Stage
from burnish.system.load import BUSY
from burnish.system.machine import package_versions, this_machine
from burnish.tasks.questions import answer_batches

_NO_EFFECT_ON_SPEED: dict[str, Any] = {
    "name": True,
    "runs": True,
    "seed": True,
    "model": {"name", "revision", "memory", "compile", "allow_pickle"},
    "data": {
        *("path", "validation", "validation_fraction", "validation_rows", "test", "test_fraction", "test_rows"),
        *("split", "split_seed", "group", "shape", "columns", "rows", "keep_in_memory", "labels"),
    },
    "train": {"adapt", "epochs", "max_steps", "learning_rate", "schedule", "warmup", "early_stopping", "patience"},
    "batch": {"tokens"},
    "evaluate": True,
    "save": True,
}
"""Options that do not affect the speed of a step. Model, rows and labels enter the key by their resolved content, and
the pace is that of uncompiled steps."""
_KEPT_BITS = 3
_SHORT_OPERATIONS, _FEW_STEPS = 2e11, 40
"""Three seconds at 70 billion operations per second, which a single old core achieves; and steps of small models, which
take some milliseconds each whatever they compute. A trial would take as long as the training."""
_SAVING, _SAVED_BYTES = 0.03, 5e8
"""Seconds of a checkpoint, and bytes that a disk writes in a second."""
MOST_TIMED = 32
"""Questions that are answered in a trial: one batch."""
_REPORT = 0.5
"""Seconds for intervals and report."""


@dataclass(frozen=True, slots=True)
class MeasuredTime:
    """The time of a run at a pace measured on this machine."""

    step: float
    """Seconds of an optimizer step, on average."""
    run: float
    """Seconds of the training, with its validations and checkpoints."""
    evaluation: float
    """Seconds from there to the end: both models on test rows, training rows, questions and other texts."""
    tokens_per_second: float
    """Tokens of the network's input, padding included."""
    longest: float
    """Seconds of the training if it goes on for as long as `train.adapt` allows; as many as `run` where it does not."""


def step_key(plan: RunPlan) -> str:
    """The cache key of a run's pace: equal for runs whose steps are equally fast.

    Only the lengths of the rows count, and those roughly. Everything else that the loaded model decides depends on the
    model itself, so the key can be computed from the plan, before anything is loaded.
    """
    context = plan.context
    batches = context.batch_plan(context.training)
    rows, width = batches.largest_size()
    shape = {
        "rows": _roughly(rows),
        "width": _roughly(width),
        "longest": _roughly(int(token_counts(context.training.examples).max())),
        "accumulates": batches.rows_per_step > rows,
        "outputs": plan.facts.outputs,
        "answers": len(context.questions(MOST_TIMED)),
    }
    exclude = _NO_EFFECT_ON_SPEED | dict.fromkeys(context.unread_sections(), True)
    return pace_key(
        {
            "model": fingerprint(context.location.folder),
            "recipe": context.recipe.model_dump(mode="json", exclude=exclude),
            "shape": shape,
            "versions": package_versions(),
            "device": plan.budget.device,
            "processor": this_machine().processor,
            "threads": torch.get_num_threads(),
            **({} if context.process.is_alone else {"processes": context.process.world}),
        }
    )


def is_surely_short(plan: RunPlan, batches: BatchPlan) -> bool:
    """Whether the training takes a few seconds at most on any machine, by its number of operations and steps.

    Six operations for each parameter and token (arXiv 2001.08361, section 2.1), padding included.
    """
    steps = total_steps(plan.context.recipe, batches.steps_per_epoch)
    operations = 6 * plan.facts.parameters * sum(batches.padded_tokens(step) for step in range(steps))
    return operations < _SHORT_OPERATIONS and steps < _FEW_STEPS


def _roughly(number: int) -> int:
    """The number rounded up to its leading three bits: at most a quarter more; small numbers are unchanged."""
    unit = 1 << max(0, number.bit_length() - _KEPT_BITS)
    return -(-number // unit) * unit


def find_usable(key: str, has_questions: bool) -> KnownPace | None:
    """The cached pace of a key, if it was measured while the machine was quiet, and with answers if there are any."""
    known = find_pace(key)
    if known is None or known.others > BUSY or (has_questions and not known.prompt_token):
        return None
    return known


def keep_measured(key: str, known: KnownPace, emit: Emit) -> None:
    """Caches the pace of a run for later plans, with a note if that fails."""
    reason = keep_pace(key, known)
    if reason:
        emit(Note(f"The measured time cannot be cached for later plans: {reason}."))


def keep_faster(key: str, seconds_per_token: float, emit: Emit) -> None:
    """Corrects a cached pace by that of a finished run: its trial may have fallen into a slow moment of the machine.

    Only a faster one is believed: a run that other programs slowed down says nothing about the next.

    Args:
        key: of the run's pace.
        seconds_per_token: of its steps, uncompiled; padding included.
        emit: receives a note if it cannot be cached.
    """
    known = find_pace(key)
    if known is not None and 0 < seconds_per_token < known.seconds_per_token:
        keep_measured(key, replace(known, seconds_per_token=seconds_per_token, measured=time.time()), emit)


def measured_time(known: KnownPace, plan: BatchPlan, context: RunContext) -> MeasuredTime:
    """The time of a run at a pace measured here.

    Args:
        known: the pace.
        plan: of the training rows.
        context: of the run; every option is resolved.
    """
    steps = total_steps(context.recipe, plan.steps_per_epoch)
    most = most_steps(steps, context.recipe.train) if context.validation.examples else steps
    run, longest = (_with_checkpoints(known, plan, context, number) for number in (steps, most))
    evaluation = _evaluation(known, context) + _answers(known, context) + _REPORT
    if context.method.trains_base:
        evaluation += known.loading  # to compare with it
    step = known.seconds_per_token * sum(plan.padded_tokens(number) for number in range(steps)) / steps
    return MeasuredTime(step, run, evaluation, 1 / known.seconds_per_token, longest)


def _with_checkpoints(known: KnownPace, plan: BatchPlan, context: RunContext, steps: int) -> float:
    """Seconds of so many steps, with their validations and checkpoints."""
    checkpoints = -(-steps // int(context.recipe.save.every))
    return training_seconds(known, plan, context, steps) + checkpoints * (_SAVING + known.checkpoint / _SAVED_BYTES)


def training_seconds(known: KnownPace, plan: BatchPlan, context: RunContext, steps: int | None = None) -> float:
    """Seconds of so many steps of a run, all that are planned if None, and of their validations."""
    steps = steps or total_steps(context.recipe, plan.steps_per_epoch)
    seconds = known.seconds_per_token * sum(plan.padded_tokens(step) for step in range(steps))
    if context.validation.examples:
        seconds += _num_validations(steps, int(context.recipe.evaluate.every)) * _validation(known, context)
    return seconds


def _validation(known: KnownPace, context: RunContext) -> float:
    """Seconds of one validation."""
    return known.validation_token * context.batch_plan(context.validation).padded_tokens(None)


def _num_validations(steps: int, every: int) -> int:
    """Validations of a run of so many steps: before the first, then every so many, and after the last."""
    return 1 + -(-steps // every)


def _evaluation(known: KnownPace, context: RunContext) -> float:
    """Seconds of evaluating both models: test rows (validation rows where there are none), as many training rows, and
    texts outside the task."""
    recipe, training, final = context.recipe, context.training, context.final
    if not final.encoded.examples:
        return 0.0
    tested = context.batch_plan(final.encoded).padded_tokens(None)
    rows = min(final.number, context.num_training_rows)
    compared = tested + rows * training.num_tokens / max(1, context.num_training_rows)
    passes = 2.0
    if context.task.objective.placeholder_examples(training.examples) is not training.examples:
        passes += 1  # what the task needs of the base model for each row
    general = 0
    if recipe.evaluate.general != NONE and reads_texts(context.task, model_kind(context.config)):
        general = int(recipe.evaluate.general_tokens)
    return known.validation_token * (passes * compared + 2 * general)


def _answers(known: KnownPace, context: RunContext) -> float:
    """Seconds of generating both models' answers: the base is expected to go on to the limit, the tuned model to answer
    as its rows do."""
    recipe = context.recipe
    questions = context.final_questions(int(recipe.evaluate.answers))
    limit = int(recipe.evaluate.max_new_tokens) if questions else 0
    seconds = 0.0
    for batch in answer_batches(questions):
        width = max(len(questions[index].prompt_ids) for index in batch)
        answers = [len(context.tokenizer(questions[index].answer).input_ids) for index in batch]
        seconds += 2 * known.prompt_token * len(batch) * width
        seconds += known.new_token * (limit + min(limit, max(answers) + 1))
    return seconds


def pace_here(plan: RunPlan) -> tuple[RunContext, KnownPace, bool] | None:
    """The pace of a run on this machine. Writes only to the cache.

    Args:
        plan: of a run whose weights are available.

    Returns:
        The run, with packing turned off if the model does not keep packed examples apart; its pace; and whether that
        was measured earlier. None if the measured step did not finish.

    Raises:
        ModelError: the weights cannot be loaded.
    """
    key = step_key(plan)
    earlier = find_usable(key, bool(plan.context.questions(1)))
    known = earlier or _measure(key, plan)
    if known is None:
        return None
    context = plan.context
    if not known.packing:
        context = context.with_options(data={"packing": False})
    return context, known, earlier is not None


def _measure(key: str, plan: RunPlan) -> KnownPace | None:
    """Loads the model and measures the first steps of a training run."""
    context, training = plan.context, plan.context.training
    begun = time.perf_counter()
    base = load_network(context)
    loading = time.perf_counter() - begun
    # what the loaded model resolves is not reported: a plan with a cached pace could not report it either
    context = inspect_base(context, base, report=lambda choice: None)
    # the base model's values for each row do not affect the speed of a step
    context = replace(context, training=_stand_in(context, training), validation=_stand_in(context, context.validation))
    batches = context.batch_plan(context.training)
    network = apply_method(context, base)
    context.emit(Stage("measuring a step"))
    known = try_run(network, context, batches, plan, context.questions(MOST_TIMED), loading)
    if known is not None:
        keep_measured(key, known, context.emit)
    return known


def _stand_in(context: RunContext, encoded: Encoded) -> Encoded:
    """The rows with placeholders for what the base model computes once."""
    return Encoded(context.task.objective.placeholder_examples(encoded.examples), encoded.owners, [])
