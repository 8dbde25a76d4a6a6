"""Generated answers compared with the known ones, and their metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.data.batching.parts import own_and_spare, share_out
from burnish.decoding.context import longest_answer, prompt_room
from burnish.engine.process import ONE, Process
from burnish.metrics.answers import compare_json, json_measures, rouge_measure
from burnish.metrics.measure import Measure, mean
from burnish.metrics.own_metric import OwnMetric
from burnish.models.sharded import is_sharded
from burnish.tasks.questions import answer_batches, written_answers
from burnish.tasks.task import Predictor, Question

_NAMED_ROWS = 3
_SHORT = 5
"""Words of an answer that can be expected word for word."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer and the expected one."""

    prompt: str
    expected: str
    given: str
    place: str

    @property
    def is_exact(self) -> bool:
        """Equal except for leading and trailing white space."""
        return self.given.strip() == self.expected.strip()


def answer_questions(
    network: Any,
    tokenizer: Any,
    predictor: Predictor,
    questions: Sequence[Question],
    max_new_tokens: int,
    precision: str,
    report: Callable[[int, int], None] = lambda done, total: None,
    process: Process = ONE,
) -> list[Answer]:
    """Greedy answers to all questions, in order; batched by prompt length, but one at a time for prompts with images.

    Several processes answer the batches that one would, each some of them, and all return all answers.

    Args:
        network: on its device; left in evaluation mode.
        tokenizer: of the network.
        predictor: determines where an answer ends, and which part of the text it is.
        questions: with known answers.
        max_new_tokens: maximum length of an answer.
        precision: of the arithmetic.
        report: called with the numbers of questions done and in total.
        process: of those that answer together.
    """
    network.eval()
    given: dict[int, str] = {}
    own, spare = _shared_out(network, questions, max_new_tokens, process)
    for chosen in own + spare:
        asked = [questions[index] for index in chosen]
        texts = written_answers(network, tokenizer, predictor, asked, max_new_tokens, precision)
        given.update(zip(chosen, texts, strict=True))
        report(len(given), len(questions))
    given = {index: text for found in process.gather(given) for index, text in found.items()}
    return [Answer(q.prompt, q.answer, given[index], q.place) for index, q in enumerate(questions)]


def _shared_out(
    network: Any, questions: Sequence[Question], max_new_tokens: int, process: Process
) -> tuple[list[list[int]], list[list[int]]]:
    """Numbers of the questions of each batch that this process answers, and of those that it answers besides.

    With sharded weights all processes answer equally many batches, and continue each until all have finished. A
    prompt that leaves less room than the longest answer takes could not be continued: all answer such a batch together.
    """
    batches = answer_batches(questions)
    costs = [len(chosen) * max(len(questions[index].prompt_ids) for index in chosen) for chosen in batches]
    if not is_sharded(network):
        return [batches[number] for number in share_out(costs, process.world)[process.rank]], []
    tight = [number for number, chosen in enumerate(batches) if _is_tight(network, questions, chosen, max_new_tokens)]
    free = [number for number in range(len(batches)) if number not in tight]
    own, spare = own_and_spare([costs[number] for number in free], process.world, process.rank)
    return [batches[free[number]] for number in own], [batches[number] for number in [free[n] for n in spare] + tight]


def _is_tight(network: Any, questions: Sequence[Question], chosen: Sequence[int], max_new_tokens: int) -> bool:
    """Whether a batch leaves less room for an answer than `max_new_tokens`."""
    asked = [questions[index] for index in chosen]
    return any(
        longest_answer(network, len(one.prompt_ids), max_new_tokens, one.inputs is not None) < max_new_tokens
        for one in asked
    )


def describe_cut(network: Any, questions: Sequence[Question], max_new_tokens: int) -> str:
    """Which prompts are longer than the context has room for besides an answer, in a sentence; empty if none are.

    Args:
        network: that answers.
        questions: those that `answer_questions` is given.
        max_new_tokens: maximum length of an answer.
    """
    room = prompt_room(network, max_new_tokens)
    # a prompt with images is refused rather than cut
    cut = [one.place for one in questions if room and one.inputs is None and len(one.prompt_ids) > room]
    if not cut:
        return ""
    named = ", ".join(cut[:_NAMED_ROWS]) + (f" and {len(cut) - _NAMED_ROWS:,} more" if len(cut) > _NAMED_ROWS else "")
    be, their = ("is", "its") if len(cut) == 1 else ("are", "their")
    return (
        f"{len(cut):,} of the {len(questions):,} prompts that were answered {be} longer than the {room:,} tokens that "
        f"fit next to an answer, so {their} beginning was left out: {named}."
    )


def answer_measures(
    answers: Sequence[Answer], own: tuple[str, OwnMetric] | None = None, is_known: bool = True
) -> list[Measure]:
    """Exact match and ROUGE-L; validity and value of JSON if every expected answer is JSON; the user's own metric.

    Args:
        answers: of one model, in the order of their questions.
        own: name and function of the user's own metric.
        is_known: whether only the expected answer is right; if not, only the user's own metric is computed.
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


def deciding_metrics(names: Sequence[str], expected: Sequence[str], own: str = "") -> list[str]:
    """Which metrics of generated answers show whether they became better, the most important first.

    The user's own metric, if there is one. If the known answers are JSON, which answers are valid, and which are equal:
    an answer in another form is of no use, and one in the right form may be wrong. Exact match, if the known answers
    are short or recur, as labels and numbers do. For free text ROUGE-L, since a good answer is hardly ever the known
    one word for word.

    Args:
        names: of the metrics, as `answer_measures` gives them.
        expected: the known answers.
        own: name of the user's own metric.
    """
    if own in names:
        return [own]
    if "valid JSON" in names:
        return ["valid JSON", "equal JSON"]
    return [name for name in ("exact match" if _is_closed(expected) else "ROUGE-L",) if name in names]


def _is_closed(expected: Sequence[str]) -> bool:
    """Whether nine of ten known answers are short, or there are half as many different ones as answers at most."""
    short = sum(len(text.split()) <= _SHORT for text in expected)
    return short >= 0.9 * len(expected) or 2 * len({text.strip() for text in expected}) <= len(expected)
