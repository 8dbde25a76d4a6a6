"""Base against tuned: on the held-out rows of a run, on as many that it was trained on, and on texts of other kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.engine.validation import HeldOut, judge
from burnish.evaluate.answers import Answer, answer_measures, answer_questions
from burnish.evaluate.comparison import (
    Comparison,
    Figure,
    GeneralText,
    Repeats,
    SideBySide,
    make_figures,
    merged,
    repeated_records,
    repeats_among,
)
from burnish.evaluate.forgetting import GeneralTexts, against_forgetting, drawn, general_texts
from burnish.metrics.intervals import contrast
from burnish.metrics.measure import MetricTable
from burnish.metrics.own_metric import load_metric
from burnish.prepare.context import Rows, Setting, make_plan
from burnish.prepare.encode import Encoded, encode_records
from burnish.prepare.model import as_base, prepare_examples
from burnish.recipe.schema import Recipe
from burnish.runs.events import Event, Progressed, Stage, Warned
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.task import Question, Task

_SHOWN_ANSWERS = 5
_FEWEST_COUNTED = 10
"""A share of fewer answers than this says nothing; they are only shown."""
Emit = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class _Exam:
    """What both models are judged on."""

    held_out: Encoded
    training: Encoded
    """As many rows that were trained on as are held out."""
    questions: Sequence[Question]
    general: GeneralTexts | None
    repeats: Repeats | None
    """Which of the held-out rows say the same, where some do."""
    training_repeats: Repeats | None


@dataclass(frozen=True, slots=True)
class _Side:
    """One model's results; None where there was nothing to judge."""

    held_out: EvaluatedExamples | None
    training: EvaluatedExamples | None
    general: EvaluatedExamples | None
    answers: list[Answer]


def compare(
    network: Any,
    setting: Setting,
    rows: Rows,
    recipe: Recipe,
    questions: Sequence[Question],
    held_out: str,
    emit: Emit,
) -> Comparison:
    """Judges the tuned network and its base on the same rows, texts and questions.

    Args:
        network: the tuned network. Where the method can switch itself off, the base is the same network; otherwise
            the base is loaded once more.
        setting: task, method, tokenizer and device of the run.
        rows: their validation part is judged, and as many of the training records.
        recipe: fully resolved.
        questions: for generated answers; may be empty.
        held_out: where the rows come from, in words.
        emit: told of the progress, and warned where the run has forgotten too much.

    Raises:
        DataError: the texts of `evaluate.general` cannot be read.
    """
    num_rows = len(set(rows.validation.owners))
    comparison = Comparison(num_rows, rows.validation.num_trained, held_out, setting.task.scorer.headline)
    training = drawn(rows.records.train, num_rows, recipe.seed)
    trained = encode_records(setting.task.encoder, training, int(recipe.data.context))
    exam = _Exam(
        rows.validation,
        trained,
        questions,
        general_texts(setting, recipe),
        repeated_records(rows.records.valid, rows.validation.owners),
        repeated_records(training, trained.owners),
    )
    comparison.distinct = exam.repeats.distinct if exam.repeats else None
    if not exam.held_out.examples and exam.general is None:
        return comparison
    emit(Stage("judging the base model"))
    with as_base(network, setting, recipe) as reference:
        for encoded in (exam.held_out, exam.training):
            prepare_examples(encoded, reference, setting, recipe, emit)
        base = _judge(reference, setting, exam, recipe, emit)
    emit(Stage("judging the tuned model"))
    tuned = _judge(network, setting, exam, recipe, emit)
    _compare_rows(comparison, base, tuned, exam, setting.task)
    comparison.figures += _answer_figures(base, tuned, setting.task, recipe)
    if exam.general is not None and base.general is not None and tuned.general is not None:
        (loss,) = make_figures([base.general.loss()], [tuned.general.loss()])
        comparison.general = GeneralText(exam.general.source, exam.general.passages.num_tokens, loss)
    if comparison.forgotten:
        emit(Warned(f"{comparison.forgotten} {against_forgetting(setting, recipe)}"))
    return comparison


def _compare_rows(comparison: Comparison, base: _Side, tuned: _Side, exam: _Exam, task: Task) -> None:
    """Fills in what both models made of the rows, held-out ones and those that were trained on."""
    if base.held_out is None or tuned.held_out is None:
        return
    before, after = ([side.loss(), *task.scorer.measures(side)] for side in (base.held_out, tuned.held_out))
    comparison.figures = make_figures(before, after, exam.repeats)
    comparison.tables = list[MetricTable](task.scorer.tables(tuned.held_out))
    comparison.note = task.scorer.remark(tuned.held_out)
    shown = _answered(base, tuned) or _shown(base.held_out, tuned.held_out, task)
    comparison.answers = shown[:_SHOWN_ANSWERS]
    if base.training is None or tuned.training is None:
        return
    held_out = merged(before[0], exam.repeats), merged(after[0], exam.repeats)
    before, after = (
        [side.loss(), *(one for one in task.scorer.measures(side) if one.name == task.scorer.headline)]
        for side in (base.training, tuned.training)
    )
    comparison.training = make_figures(before, after, exam.training_repeats)
    trained = merged(before[0], exam.training_repeats), merged(after[0], exam.training_repeats)
    comparison.gap = contrast(trained, held_out)


def _judge(network: Any, setting: Setting, exam: _Exam, recipe: Recipe, emit: Emit) -> _Side:
    """One model's results on everything."""

    def judged(encoded: Encoded, setting: Setting) -> EvaluatedExamples | None:
        if not encoded.examples:
            return None
        rows = HeldOut.of(make_plan(encoded, setting, recipe), encoded.owners)
        precision = recipe.model.precision
        return judge(network, setting.task, rows, precision, lambda *told: emit(Progressed("rows judged", *told)))

    held_out = judged(exam.held_out, setting)
    answers = answer_questions(
        network,
        setting.tokenizer,
        setting.task.predictor,
        exam.questions,
        int(recipe.evaluate.max_new_tokens),
        recipe.model.precision,
        lambda done, total: emit(Progressed("answers", done, total)),
    )
    training, general = judged(exam.training, setting), None
    if exam.general is not None:
        exam.general.setting.task.objective.inspect_model(network)
        general = judged(exam.general.passages, exam.general.setting)
    return _Side(held_out, training, general, answers)


def _answer_figures(base: _Side, tuned: _Side, task: Task, recipe: Recipe) -> list[Figure]:
    """Figures of what both models wrote; none where that is too little to count."""
    if base.held_out is None or len(base.answers) < _FEWEST_COUNTED:
        return []
    own = recipe.evaluate.metric
    named = (own.partition(":")[2], load_metric(own)) if own else None
    before, after = (answer_measures(side.answers, named, task.scorer.compares_answers) for side in (base, tuned))
    return make_figures(before, after, repeats_among([(one.prompt, one.expected) for one in base.answers]))


def _answered(base: _Side, tuned: _Side) -> list[SideBySide]:
    """Both models' generated answers to each question."""
    pairs = zip(base.answers, tuned.answers, strict=True)
    return [SideBySide(b.prompt, b.expected, b.given, t.given, b.place) for b, t in pairs]


def _shown(base: EvaluatedExamples, tuned: EvaluatedExamples, task: Task) -> list[SideBySide]:
    """What both models make of the first rows, where the task puts that into words."""
    told = []
    for example, before, after in zip(base.examples, base.outputs, tuned.outputs, strict=True):
        first, second = task.scorer.describe(example, before), task.scorer.describe(example, after)
        if first is None or second is None or len(told) == _SHOWN_ANSWERS:
            break
        told.append(SideBySide(first[0], first[1], first[2], second[2], example.place))
    return told
