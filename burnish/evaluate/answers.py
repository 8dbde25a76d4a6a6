"""Generated answers beside the known ones, and their metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.metrics.answers import compare_json, json_measures, rouge_measure
from burnish.metrics.measure import Measure, mean
from burnish.metrics.own_metric import OwnMetric
from burnish.models.device import arithmetic
from burnish.models.generation import generate_batch
from burnish.tasks.task import Predictor, Question

_BATCH = 32


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said, and what it should have said."""

    prompt: str
    expected: str
    given: str
    place: str

    @property
    def is_exact(self) -> bool:
        """Equal up to white space at the ends."""
        return self.given.strip() == self.expected.strip()


def answer_questions(
    network: Any,
    tokenizer: Any,
    predictor: Predictor,
    questions: Sequence[Question],
    max_new_tokens: int,
    precision: str,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> list[Answer]:
    """Greedy answers to every question, in their order; batched by length of prompt, alone where pixels belong to it.

    Args:
        network: on its device; left in evaluation mode.
        tokenizer: of the network.
        predictor: knows where an answer ends, and which part of the text it is.
        questions: with their known answers.
        max_new_tokens: longest answer.
        precision: of the arithmetic.
        tell: called with questions done and in all.
    """
    network.eval()
    device = next(network.parameters()).device
    order = sorted(range(len(questions)), key=lambda index: len(questions[index].prompt_ids))
    given: dict[int, str] = {}
    plain = [index for index in order if questions[index].inputs is None]
    groups = [plain[begin : begin + _BATCH] for begin in range(0, len(plain), _BATCH)]
    groups += [[index] for index in order if questions[index].inputs is not None]
    for chosen in groups:
        prompts = [questions[index].prompt_ids for index in chosen]
        load = questions[chosen[0]].inputs
        with arithmetic(device, precision):
            outputs = generate_batch(
                network, tokenizer, prompts, predictor.stop_ids, max_new_tokens, inputs=load() if load else None
            )
        for index, ids in zip(chosen, outputs, strict=True):
            given[index] = predictor.answer_text(tokenizer.decode(predictor.visible_ids(ids), skip_special_tokens=True))
        tell(len(given), len(questions))
    return [Answer(q.prompt, q.answer, given[index], q.place) for index, q in enumerate(questions)]


def answer_measures(
    answers: Sequence[Answer], own: tuple[str, OwnMetric] | None = None, is_known: bool = True
) -> list[Measure]:
    """Exact match and ROUGE-L; where every expected answer is JSON, its validity and its value; the user's own figure.

    Args:
        answers: of one model, in the order of their questions.
        own: name and function of the user's own figure.
        is_known: whether only the expected answer is right; otherwise nothing but the user's own figure can judge.
    """
    expected, given = [answer.expected for answer in answers], [answer.given for answer in answers]
    measures: list[Measure] = []
    if is_known:
        measures = [mean("exact match", [answer.is_exact for answer in answers]), rouge_measure(expected, given)]
    if is_known and all(text.strip()[:1] in ("{", "[") and compare_json(text, text).is_valid for text in expected):
        measures += json_measures(given, expected)
    if own is not None:
        name, score = own
        scores = [score(answer.given, answer.expected) for answer in answers]
        measures.append(mean(name, scores, is_share=all(0 <= number <= 1 for number in scores)))
    return measures
