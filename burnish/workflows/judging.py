"""Base against tuned, on the held-out rows of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from burnish.engine.judging import HeldOut, judge
from burnish.evaluate.answer_figures import answer_measures
from burnish.evaluate.answers import Answer, answer_questions
from burnish.evaluate.comparison import Comparison, SideBySide, make_figures
from burnish.evaluate.own_metric import load_metric
from burnish.metrics.measure import Measure
from burnish.metrics.table import MetricTable
from burnish.recipe.schema import Recipe
from burnish.runs.events import Event, Progressed, Stage
from burnish.tasks.judged import Judged
from burnish.tasks.task import Question, Task
from burnish.workflows.network import load_from, prepare_examples
from burnish.workflows.preparation import Rows, Setting, make_plan

_SHOWN_ANSWERS = 5
_FEWEST_COUNTED = 10
"""A share of fewer answers than this says nothing; they are only shown."""


@dataclass(slots=True)
class _Side:
    """One model's results on the held-out rows."""

    judged: Judged
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
    comparison.headline = setting.task.headline
    if not rows.validation.examples:
        return comparison
    emit(Stage("judging the base model"))
    without = setting.method.without(network)
    reference = network if without is not None else load_from(setting.location, setting, recipe).network
    with without if without is not None else nullcontext():
        prepare_examples(rows.validation, reference, setting, recipe, emit)
        base = _judge(reference, setting, rows, recipe, questions, emit)
    emit(Stage("judging the tuned model"))
    tuned = _judge(network, setting, rows, recipe, questions, emit)
    comparison.figures = make_figures(_measures(base, setting.task, recipe), _measures(tuned, setting.task, recipe))
    comparison.tables = list[MetricTable](setting.task.tables(tuned.judged))
    comparison.note = setting.task.remark(tuned.judged)
    comparison.answers = (_answered(base, tuned) or _shown(base.judged, tuned.judged, setting.task))[:_SHOWN_ANSWERS]
    return comparison


def _judge(
    network: Any,
    setting: Setting,
    rows: Rows,
    recipe: Recipe,
    questions: Sequence[Question],
    emit: Callable[[Event], None],
) -> _Side:
    held_out = HeldOut.of(make_plan(rows.validation, setting, recipe), rows.validation.owners)
    precision = recipe.model.precision
    judged = judge(network, setting.task, held_out, precision, lambda *told: emit(Progressed("rows judged", *told)))
    answers = answer_questions(
        network,
        setting.tokenizer,
        setting.task,
        questions,
        int(recipe.evaluate.max_new_tokens),
        precision,
        lambda done, total: emit(Progressed("answers", done, total)),
    )
    return _Side(judged, answers)


def _measures(side: _Side, task: Task, recipe: Recipe) -> list[Measure]:
    measures = [side.judged.loss(), *task.measures(side.judged)]
    if len(side.answers) >= _FEWEST_COUNTED:
        own = recipe.evaluate.metric
        named = (own.partition(":")[2], load_metric(own)) if own else None
        measures += answer_measures(side.answers, named, task.knows_answers)
    return measures


def _answered(base: _Side, tuned: _Side) -> list[SideBySide]:
    """Both models' generated answers to each question."""
    pairs = zip(base.answers, tuned.answers, strict=True)
    return [SideBySide(b.prompt, b.expected, b.given, t.given, b.place) for b, t in pairs]


def _shown(base: Judged, tuned: Judged, task: Task) -> list[SideBySide]:
    """What both models make of the first rows, where the task puts that into words."""
    told = []
    for example, before, after in zip(base.examples, base.outputs, tuned.outputs, strict=True):
        first, second = task.shown(example, before), task.shown(example, after)
        if first is None or second is None or len(told) == _SHOWN_ANSWERS:
            break
        told.append(SideBySide(first[0], first[1], first[2], second[2], example.place))
    return told
