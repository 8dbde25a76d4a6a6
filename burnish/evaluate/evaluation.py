"""Evaluates base and tuned model: on test rows, on as many training rows, and on texts outside the task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from burnish.data.rows.mixing import Origins
from burnish.data.rows.records import Record, content_hash
from burnish.engine.validation import HeldOut, evaluate_rows
from burnish.evaluate.answers import Answer, answer_measures, answer_questions, deciding_metrics, describe_cut
from burnish.evaluate.by_source import figures_by_source
from burnish.evaluate.comparison import (
    OTHER,
    Comparison,
    GeneralText,
    Repeats,
    SideBySide,
    make_figures,
    merged,
    repeated_records,
    repeats_among,
)
from burnish.evaluate.figure import Figure
from burnish.evaluate.forgetting import BaseLoss, GeneralTexts, against_forgetting, drawn, general_texts
from burnish.metrics.intervals import contrast
from burnish.metrics.measure import Measure, MetricTable
from burnish.metrics.own_metric import load_metric
from burnish.models.sharded import compute
from burnish.prepare.context import Emit, RunContext
from burnish.prepare.encode import Encoded, encode_records
from burnish.prepare.final import caveat
from burnish.prepare.model import as_base, measure_examples
from burnish.recipe.schema import Recipe
from burnish.runs.events import Progressed, Stage, Warned
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.task import Question, Task

_KEPT_ANSWERS = 100
"""Rows that both models answer side by side in `evaluation.json`."""
FEWEST_COUNTED = 10
"""Fewer answers than this are shown but give no metrics."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """What both models are evaluated on."""

    held_out: Encoded
    """The test rows, or validation rows where there are none."""
    training: Encoded
    """As many training rows."""
    questions: Sequence[Question]
    general: GeneralTexts | None
    repeats: Repeats | None
    """Among the test rows, if there are any."""
    training_repeats: Repeats | None
    records: Sequence[Record] = ()
    """Of the test rows."""
    origins: Origins | None = None
    """Which of them is from which source."""


@dataclass(frozen=True, slots=True)
class _Results:
    """One model's results; None if there was nothing to evaluate on."""

    held_out: EvaluatedExamples | None
    training: EvaluatedExamples | None
    general: Measure | None
    """The loss on general texts."""
    answers: list[Answer]


def compare_with_base(
    network: Any, context: RunContext, answers: int, other: str = "", findings: Mapping[str, str] | None = None
) -> Comparison:
    """Evaluates the tuned network and its base on the same rows, texts and questions.

    Args:
        network: the tuned network. If the method can be switched off, the base is the same network; otherwise the
            base is loaded again.
        context: fully resolved; its test rows are used, or without any its validation rows, and as many of the training
            rows.
        answers: most rows that both models answer.
        other: the name of the data that the rows are from, if they are not those of the run.
        findings: evidence of diagnoses that hold at the end of the run, by name.

    Raises:
        DataError: the texts of `evaluate.general` cannot be read.
    """
    task, records, emit, final = context.task, context.records, context.emit, context.final
    questions = context.final_questions(answers)
    source = f"`{other}`" if other else final.described(records.held_out)
    split = OTHER if other else final.called
    comparison = Comparison(final.number, final.encoded.num_trained, source, task.scorer.headline, split=split)
    comparison.findings = dict(findings or {})
    training = drawn(records.train, final.number, context.recipe.seed)
    trained = encode_records(task.encoder, training, context.context_length)
    rows = _Rows(
        final.encoded,
        trained,
        questions,
        general_texts(context),
        repeated_records(final.records, final.encoded.owners, _unequal(final.encoded)),
        repeated_records(training, trained.owners),
        final.records,
        None if other else records.origins,
    )
    comparison.distinct = rows.repeats.distinct if rows.repeats else None
    shares = task.scorer.headline_is_share or len(questions) >= FEWEST_COUNTED
    comparison.caveat = caveat(split, comparison.distinct or final.number, records.why_no_test, shares)
    if not rows.held_out.examples and rows.general is None:
        return comparison
    emit(Stage("evaluating the base model"))
    with as_base(network, context) as reference:
        rows = replace(
            rows,
            held_out=measure_examples(context, rows.held_out, reference),
            training=measure_examples(context, rows.training, reference),
        )
        base = _evaluate(reference, context, rows, is_base=True)
    emit(Stage("evaluating the tuned model"))
    tuned = _evaluate(network, context, rows, is_base=False)
    _compare_rows(comparison, base, tuned, rows, task)
    cut = describe_cut(network, questions, int(context.recipe.evaluate.max_new_tokens))
    comparison.note = f"{comparison.note} {cut}".strip()
    whole = {record.place: content_hash(record) for record in final.records}
    same = repeats_among([whole.get(one.place, (one.prompt, one.expected)) for one in base.answers])
    answered = _answer_figures(base, tuned, task, context.recipe, same)
    comparison.figures += answered
    own = (context.recipe.evaluate.metric or "").partition(":")[2]
    comparison.deciding = deciding_metrics([one.name for one in answered], [one.expected for one in base.answers], own)
    if len(questions) < FEWEST_COUNTED and context.questions(1):
        comparison.unscored = len(questions)
    if rows.general is not None and base.general is not None and tuned.general is not None:
        (loss,) = make_figures([base.general], [tuned.general])
        comparison.general = GeneralText(rows.general.source, rows.general.passages.num_tokens, loss)
    if comparison.forgotten:
        emit(Warned(f"{comparison.forgotten} {against_forgetting(context)}"))
    return comparison


def foreseen_caveat(context: RunContext) -> str:
    """What to know about the rows of the final comparison before there are figures, in sentences; often empty.

    Args:
        context: of the run, encoded.
    """
    final = context.final
    distinct = len({content_hash(record) for record in final.records})
    answered = len(context.final_questions(int(context.recipe.evaluate.answers)))
    shares = context.task.scorer.headline_is_share or answered >= FEWEST_COUNTED
    if not final.number:
        return ""
    return caveat(final.called, min(final.number, distinct), context.records.why_no_test, shares)


def _unequal(encoded: Encoded) -> Sequence[Any]:
    """The examples, if some have no term of the loss; none otherwise."""
    return encoded.examples if encoded.num_trained < len(encoded.examples) else ()


def _compare_rows(comparison: Comparison, base: _Results, tuned: _Results, rows: _Rows, task: Task) -> None:
    """Fills in the metrics of both models on the test rows and on training rows."""
    if base.held_out is None or tuned.held_out is None:
        return
    before, after = ([one.loss(), *task.scorer.measures(one)] for one in (base.held_out, tuned.held_out))
    comparison.figures = make_figures(before, after, rows.repeats)
    comparison.tables = list[MetricTable](task.scorer.tables(tuned.held_out))
    comparison.sources = figures_by_source(base.held_out, tuned.held_out, rows.records, rows.origins, task)
    comparison.note = task.scorer.remark(tuned.held_out)
    shown = _answered(base, tuned) or _shown(base.held_out, tuned.held_out, task)
    comparison.answers = shown[:_KEPT_ANSWERS]
    if base.training is None or tuned.training is None:
        return
    held_out = merged(before[0], rows.repeats), merged(after[0], rows.repeats)
    before, after = (
        [one.loss(), *(measure for measure in task.scorer.measures(one) if measure.name == task.scorer.headline)]
        for one in (base.training, tuned.training)
    )
    comparison.training = make_figures(before, after, rows.training_repeats)
    trained = merged(before[0], rows.training_repeats), merged(after[0], rows.training_repeats)
    # how much more was gained on rows that the model was trained on: memorization
    comparison.gap = contrast(trained, held_out)


def _evaluate(network: Any, context: RunContext, rows: _Rows, is_base: bool) -> _Results:
    """One model's results on everything."""
    recipe, emit = context.recipe, context.emit

    def evaluated(encoded: Encoded, context: RunContext) -> EvaluatedExamples | None:
        if not encoded.examples:
            return None
        held_out = HeldOut.of(context.batch_plan(encoded), encoded.owners)
        progress = partial(_report_rows, emit)
        return evaluate_rows(network, context.task, held_out, recipe.model.precision, progress, context.process)

    held_out = evaluated(rows.held_out, context)
    answers = answer_questions(
        network,
        context.tokenizer,
        context.task.predictor,
        rows.questions,
        int(recipe.evaluate.max_new_tokens),
        recipe.model.precision,
        lambda done, total: emit(Progressed("answers", done, total)),
        context.process,
    )
    training, general = evaluated(rows.training, context), rows.general
    if general is None:
        return _Results(held_out, training, None, answers)
    # runs of the same base share its loss on these texts
    cache = BaseLoss(general) if is_base else None
    loss = cache.find() if cache else None
    if not context.process.decide(lambda: loss is not None):
        # these texts have a task of their own, `text`, whose objective has not seen the network yet
        compute(network, general.context.task.objective.inspect_model)
        result = evaluated(general.passages, general.context)
        loss = result.loss() if result else None
        if cache and loss is not None:
            cache.keep(loss)
    return _Results(held_out, training, loss, answers)


def _report_rows(emit: Emit, done: int, total: int) -> None:
    emit(Progressed("rows evaluated", done, total))


def _answer_figures(
    base: _Results, tuned: _Results, task: Task, recipe: Recipe, repeats: Repeats | None
) -> list[Figure]:
    """Metrics of both models' generated answers; none if there are too few.

    Args:
        base: the base model's results.
        tuned: the tuned model's.
        task: of the run.
        recipe: names the user's own metric, if there is one.
        repeats: among the questions. Only whole conversations are repeats: the same last turn has another answer after
            another history.
    """
    if base.held_out is None or len(base.answers) < FEWEST_COUNTED:
        return []
    own = recipe.evaluate.metric
    named = (own.partition(":")[2], load_metric(own)) if own else None
    before, after = (answer_measures(one.answers, named, task.scorer.compares_answers) for one in (base, tuned))
    return make_figures(before, after, repeats)


def _answered(base: _Results, tuned: _Results) -> list[SideBySide]:
    """Both models' generated answers to each question."""
    pairs = zip(base.answers, tuned.answers, strict=True)
    return [SideBySide(b.prompt, b.expected, b.given, t.given, b.place) for b, t in pairs]


def _shown(base: EvaluatedExamples, tuned: EvaluatedExamples, task: Task) -> list[SideBySide]:
    """Both models' outputs for the first rows, if the task can describe them."""
    shown = []
    for example, before, after in zip(base.examples, base.outputs, tuned.outputs, strict=True):
        first, second = task.scorer.describe(example, before), task.scorer.describe(example, after)
        if first is None or second is None or len(shown) == _KEPT_ANSWERS:
            break
        shown.append(SideBySide(first[0], first[1], first[2], second[2], example.place))
    return shown
