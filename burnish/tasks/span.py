"""Task `span`: extractive question answering; the answer is a passage of the text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch

from burnish.data.batching.batches import Batch
from burnish.data.rows.records import SpanRecord
from burnish.data.rows.row import EncodedRow, RowError
from burnish.data.spans.rows import filled, read_question
from burnish.data.spans.windows import SpanFormat, Window
from burnish.data.tokens.text_pairs import read_inputs
from burnish.errors import DataError, InputError, ModelError, RecipeError
from burnish.metrics.answers import answer_measures, answer_tables
from burnish.metrics.measure import Measure, MetricTable
from burnish.models.heads import Head
from burnish.models.sharded import device_of
from burnish.recipe.schema import Recipe
from burnish.tasks.defaults import EncoderDefaults, ObjectiveDefaults, ScorerDefaults
from burnish.tasks.evaluated import BatchOutcome, EvaluatedExamples
from burnish.tasks.predictions import PASSAGE, Passage, TextsPredictor
from burnish.tasks.task import Choice, Parts, Segment, TaskFacts


def best_spans(
    starts: torch.Tensor, ends: torch.Tensor, allowed: torch.Tensor, longest: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each row, the span `first..last` of at most `longest` tokens with the largest `starts[first] + ends[last]`.

    The best end for each start is the maximum of a sliding window over the ends, so that all spans are
    considered, not only those between the best few starts and ends.

    Args:
        starts: `[rows, width]`, score of each token as the first.
        ends: `[rows, width]`, score of each token as the last.
        allowed: `[rows, width]` bool, tokens that a span may begin or end with; at least one in each row.
        longest: maximum length of a span in tokens.

    Returns:
        `[rows]` fp32 scores, `[rows]` int64 first and `[rows]` int64 last tokens; of equal spans the earliest.
    """
    lowest = float("-inf")
    reach = min(longest, starts.shape[1])
    last_scores = ends.float().masked_fill(~allowed, lowest)
    padded = torch.nn.functional.pad(last_scores, (0, reach - 1), value=lowest)
    best_ends, last = torch.nn.functional.max_pool1d(padded.unsqueeze(1), reach, stride=1, return_indices=True)
    scores = starts.float().masked_fill(~allowed, lowest) + best_ends.squeeze(1)
    best, first = scores.max(dim=1)
    return best, first, last.squeeze(1).gather(1, first.unsqueeze(1)).squeeze(1)


NO_ANSWER = "(no answer)"
_SHOWN_CHARACTERS = 200
_WINDOWS_AT_ONCE = 8
_LEAST_STRIDE = 16


@dataclass(frozen=True, slots=True)
class Found:
    """The prediction for one window."""

    score: float
    """Score of the best span, in logits."""
    nothing: float
    """Score of no answer, in logits."""
    first: int
    """Position of the best span's first token."""
    last: int


class SpanEncoder(EncoderDefaults):
    """Encodes a question with each window of its text."""

    def __init__(self, tokenizer: Any, span_format: SpanFormat) -> None:
        self._tokenizer = tokenizer
        self._format = span_format

    def encode(self, record: SpanRecord, context: int) -> EncodedRow:
        """One example for each window of the text; nothing is cut off."""
        return EncodedRow(self._format.encode(record, context), 0)

    def collate(
        self, examples: Sequence[Window], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None
    ) -> Batch:
        """Windows padded to one width. `targets` `[rows, 2]`: positions of the answer's first and last token."""
        chosen = [index for (index,) in rows]
        windows = [examples[index] for index in chosen]
        inputs = read_inputs(windows, self._tokenizer.pad_token_id)
        readable = numpy.zeros(inputs["input_ids"].shape, dtype=bool)
        for row, window in enumerate(windows):
            end = window.begin + len(window.characters)
            readable[row, window.begin : end] = window.characters[:, 0] < window.characters[:, 1]
        return Batch(
            inputs,
            torch.tensor([[window.first, window.last] for window in windows]),
            tuple(chosen),
            torch.tensor(chosen),
            sum(window.num_tokens for window in windows),
            {"readable": torch.from_numpy(readable), "nothing": torch.tensor([window.nothing for window in windows])},
        )

    def segments(self, example: Window) -> list[Segment]:
        """Question and text; the answer is learned."""
        has_answer = example.first != example.nothing
        learned = [has_answer and example.first <= place <= example.last for place in range(len(example.input_ids))]
        return [Segment("", example.input_ids, learned, "" if has_answer else "no answer in this part of the text")]


class SpanObjective(ObjectiveDefaults):
    """Two scores for every token: for being the first of the answer, and for being the last."""

    head = Head("AutoModelForQuestionAnswering", "QUESTION_ANS", {"num_labels": 2})
    step_rows = 16

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[windows]` fp32: mean of the negative log-likelihoods of first and last token."""
        return _losses(*_scores(network, batch), batch)


class SpanScorer(ScorerDefaults):
    """Measures how much of the answers is found."""

    headline = "F1"

    def __init__(self, recipe: Recipe) -> None:
        self._options = recipe.span

    def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
        """The losses, and the best span of each window with the score of no answer."""
        starts, ends = _scores(network, batch)
        columns = best_spans(starts, ends, batch.extras["readable"], self._options.longest_answer)
        nothing = (starts + ends).gather(1, batch.extras["nothing"].unsqueeze(1)).squeeze(1)
        score, first, last = (column.tolist() for column in columns)
        outputs = [Found(*values) for values in zip(score, nothing.tolist(), first, last, strict=True)]
        return BatchOutcome(_losses(starts, ends, batch), outputs)

    def answer(self, windows: Sequence[Window], found: Sequence[Found]) -> str:
        """The answer over all windows of a question; empty if there is none.

        The best span of all windows is compared with the lowest no-answer score of any window, as in
        BERT's script for SQuAD 2.0.
        """
        window, best = self.best(windows, found)
        nothing = min(one.nothing for one in found)
        if self._options.unanswerable and nothing - best.score > self._options.no_answer_margin:
            return ""
        return window.cut(best.first, best.last)

    def best(self, windows: Sequence[Window], found: Sequence[Found]) -> tuple[Window, Found]:
        """The window with the best span of all."""
        return max(zip(windows, found, strict=True), key=lambda pair: pair[1].score)

    def measures(self, evaluated: EvaluatedExamples) -> list[Measure]:
        """Exact match and F1, and both for questions with and without an answer if there are both."""
        given, known = self._answers(evaluated)
        return answer_measures(given, known)

    def tables(self, evaluated: EvaluatedExamples) -> list[MetricTable]:
        """Questions with and without an answer, if there are both."""
        given, known = self._answers(evaluated)
        return answer_tables(given, known)

    def describe(self, example: Window, output: Found) -> tuple[str, str, str]:
        """One window: the question and the beginning of its text, its answer, and the predicted answer."""
        text = example.text
        shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
        has_answer = example.first != example.nothing
        expected = example.record.answers[0][1] if has_answer else NO_ANSWER
        given = self.answer([example], [output]) or NO_ANSWER
        return f"{example.record.question}\n{shown}", expected, given

    def _answers(self, evaluated: EvaluatedExamples) -> tuple[list[str], list[list[str]]]:
        """For each row, in order, the predicted answer and the accepted ones."""
        rows: dict[int, list[int]] = {}
        for index, owner in enumerate(evaluated.owners):
            rows.setdefault(owner, []).append(index)
        given, known = [], []
        for _, indices in sorted(rows.items()):
            windows = [evaluated.examples[index] for index in indices]
            given.append(self.answer(windows, [evaluated.outputs[index] for index in indices]))
            known.append([text for _, text in windows[0].record.answers])
        return given, known


class SpanPredictor(TextsPredictor):
    """Finds the answer to a question in a text."""

    def __init__(self, encoder: SpanEncoder, scorer: SpanScorer, context: int | str) -> None:
        self._encoder = encoder
        self._scorer = scorer
        self._context = context

    def texts_of(self, values: Mapping[str, Any]) -> Sequence[str]:
        """The question and the text."""
        return [filled(values, (name,)) for name in self.fields]

    def respond(self, network: Any, prompt: str) -> str:
        """The answer to `{"question": ..., "context": ...}`, or `(no answer)`.

        Raises:
            InputError: the prompt is not such an object, or its question leaves no room for the text.
        """
        windows, found = self._windows(network, read_question(prompt))
        return self._scorer.answer(windows, found) or NO_ANSWER

    @property
    def fields(self) -> tuple[str, ...]:
        """A question, and the text that may answer it."""
        return "question", "context"

    def predict(self, network: Any, rows: Sequence[Sequence[str]]) -> list[Passage]:
        """The passage that answers each question."""
        return [self._passage(network, *texts) for texts in rows]

    def _passage(self, network: Any, question: str, context: str) -> Passage:
        if not question.strip() or not context.strip():
            raise InputError("the question or the text is empty")
        windows, found = self._windows(network, SpanRecord(context, question, (), "the prompt"))
        window, best = self._scorer.best(windows, found)
        nothing = min(one.nothing for one in found)
        probability = 1 / (1 + math.exp(min(700.0, nothing - best.score)))
        if not self._scorer.answer(windows, found):
            return Passage(0, 0, 1 - probability)
        begin, end = window.place_of(best.first, best.last)
        return Passage(begin, end, probability)

    def _windows(self, network: Any, record: SpanRecord) -> tuple[list[Window], list[Found]]:
        """The windows of a question, and what is found in each."""
        try:
            windows = self._encoder.encode(record, int(self._context)).examples
        except RowError as error:
            raise InputError(f"this question cannot be read: {error}", "", "Shorten it") from error
        device = device_of(network)
        found: list[Found] = []
        for begin in range(0, len(windows), _WINDOWS_AT_ONCE):
            rows = [[index] for index in range(begin, min(begin + _WINDOWS_AT_ONCE, len(windows)))]
            batch = self._encoder.collate(windows, rows, self._encoder.can_pack, None).to(device)
            found += self._scorer.evaluate_batch(network, batch).outputs
        return windows, found


def _scores(network: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """`[windows, width]` fp32 twice: logits of each token as the first and as the last of the answer."""
    output = network(**batch.inputs)
    # a method may have put virtual tokens before the text
    width = batch.input_ids.shape[1]
    return output.start_logits[:, -width:].float(), output.end_logits[:, -width:].float()


def _losses(starts: torch.Tensor, ends: torch.Tensor, batch: Batch) -> torch.Tensor:
    """`[windows]` fp32. The softmax is over the tokens of the text and "no answer", as in the paper; question and
    padding are excluded, so that padding has no effect."""
    candidates = batch.extras["readable"].scatter(1, batch.extras["nothing"].unsqueeze(1), True)
    terms = [
        torch.nn.functional.cross_entropy(
            logits.masked_fill(~candidates, float("-inf")), batch.targets[:, side], reduction="none"
        )
        for side, logits in enumerate((starts, ends))
    ]
    return (terms[0] + terms[1]) / 2


def _choices(records: Sequence[SpanRecord], recipe: Recipe) -> list[Choice]:
    """The stride, and whether questions may have no answer."""
    context, stride = int(recipe.data.context), recipe.span.stride
    if stride != "auto" and stride > context // 2:
        raise RecipeError(
            f"`span.stride` is {stride}, but two windows of {context} tokens may share at most half",
            "Otherwise a long text would be processed many times over.",
            f"Use at most {context // 2}, or leave it at `auto`",
        )
    without = sum(not record.answers for record in records)
    if records and without == len(records):
        raise DataError(
            "no training row has an answer",
            "The model cannot learn to find answers from questions without any.",
            "Add rows with answers",
        )
    reason = f"{without:,} of {len(records):,} training rows have no answer"
    return [
        ("span.stride", max(_LEAST_STRIDE, context // 3), "a third of the context"),
        ("span.unanswerable", without > 0, reason if without else "every training row has an answer"),
    ]


def _build(tokenizer: Any, recipe: Recipe) -> Parts:
    if not tokenizer.is_fast:
        raise ModelError(
            "the tokenizer does not report which characters a token covers",
            "Only tokenizers with a `tokenizer.json` do, and answers are located by characters.",
            "Choose another model with `--model`",
        )
    encoder = SpanEncoder(tokenizer, SpanFormat(tokenizer, int(recipe.span.stride)))
    scorer = SpanScorer(recipe)
    return Parts(encoder, SpanObjective(), scorer, SpanPredictor(encoder, scorer, recipe.data.context))


SPAN = TaskFacts(
    name="span",
    records=(SpanRecord,),
    kinds=("masked", "causal"),
    build=_build,
    auto_class=SpanObjective.head.auto_class,
    choices=_choices,
    sections=("span",),
    learned="finds the answer to a question in a text",
    predicts=PASSAGE,
    pipeline="question-answering",
    usual_rows=(1_000, 5_000),
    sample="notes.json",
    snippets=("span", "span"),
)
