"""Base against tuned, on the held-out rows of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy

from burnish.evaluate.answers import Answer, answer_questions
from burnish.evaluate.comparison import Comparison, exact_match, loss_figures, side_by_side
from burnish.evaluate.row_losses import row_losses
from burnish.recipe.schema import Recipe
from burnish.runs.events import Event, Progressed, Stage
from burnish.tasks.task import Question
from burnish.workflows.preparation import Rows, Setting, load_from, make_plan

_SHOWN_ANSWERS = 5
_FEWEST_COUNTED = 10
"""A share of fewer answers than this says nothing; they are only shown."""


@dataclass(slots=True)
class Judged:
    """One model's results on the held-out rows."""

    sums: numpy.ndarray
    counts: numpy.ndarray
    answers: list[Answer]


def compare(
    network: Any,
    setting: Setting,
    rows: Rows,
    recipe: Recipe,
    questions: Sequence[Question],
    held_out: str,
    emit: Callable[[Event], None],
) -> Comparison:
    """Judges the tuned network and its base on the same rows and questions.

    Args:
        network: the tuned network. Where the method can switch itself off, the base is the same network; otherwise
            the base is loaded once more.
        setting: task, method, tokenizer and device of the run.
        rows: their validation part is judged.
        recipe: fully resolved.
        questions: for generated answers; may be empty.
        held_out: where the rows come from, in words.
        emit: told of the progress.
    """
    comparison = Comparison(len(set(rows.validation.owners)), rows.validation.num_trained, held_out)
    if not rows.validation.examples:
        return comparison
    emit(Stage("judging the tuned model"))
    tuned = _judge(network, setting, rows, recipe, questions, emit)
    emit(Stage("judging the base model"))
    without = setting.method.without(network)
    reference = network if without is not None else load_from(setting.location, setting, recipe).network
    with without if without is not None else nullcontext():
        base = _judge(reference, setting, rows, recipe, questions, emit)
    comparison.figures, comparison.loss_difference = loss_figures(base.sums, tuned.sums, tuned.counts)
    if len(questions) >= _FEWEST_COUNTED:
        comparison.figures.append(exact_match(base.answers, tuned.answers))
    if questions:
        comparison.answers = side_by_side(base.answers, tuned.answers)[:_SHOWN_ANSWERS]
    return comparison


def _judge(
    network: Any,
    setting: Setting,
    rows: Rows,
    recipe: Recipe,
    questions: Sequence[Question],
    emit: Callable[[Event], None],
) -> Judged:
    batches = make_plan(rows.validation, setting, recipe).all_batches()
    precision = recipe.model.precision
    sums, counts = row_losses(network, setting.task, batches, rows.validation.owners, precision)
    answers = answer_questions(
        network,
        setting.tokenizer,
        setting.task,
        questions,
        int(recipe.evaluate.max_new_tokens),
        precision,
        lambda done, total: emit(Progressed("answers", done, total)),
    )
    return Judged(sums, counts, answers)
