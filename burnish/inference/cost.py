"""What a smaller file costs: the run's test rows answered by llama.cpp from the file, beside the model itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from burnish.evaluate.answers import Answer, answer_measures, answer_questions
from burnish.evaluate.comparison import make_figures
from burnish.evaluate.figure import Figure
from burnish.inference.llama_cpp import LlamaCpp
from burnish.metrics.measure import Measure, ratio
from burnish.metrics.own_metric import OwnMetric
from burnish.tasks.task import Encoder, Predictor, Question

PLACES = 64
"""Learned tokens whose loss is compared: llama.cpp gives all log-probabilities of a place as text, megabytes each."""
_PRECISION = "fp32"


@dataclass(frozen=True, slots=True)
class Place:
    """A learned token, and the tokens before it."""

    before: list[int]
    token: int


@dataclass(frozen=True, slots=True)
class Asked:
    """What a model and the files made of it are both asked."""

    questions: Sequence[Question]
    places: Sequence[Place]
    tokenizer: Any
    predictor: Predictor
    most: int
    """New tokens of an answer."""
    own: tuple[str, OwnMetric] | None
    """The user's own metric, and its name."""
    is_known: bool
    """Whether only the expected answer is right."""
    rows: int
    """Tokens that the model gives a log-probability."""

    def figures(self, model: Sequence[Measure], file: Sequence[Measure]) -> list[Figure]:
        """Each metric of the model and of the file, with the paired difference."""
        return make_figures(model, file)

    def of_network(self, network: Any) -> list[Measure]:
        """The metrics of the model itself, in fp32."""
        found = [_loss_of_network(network, place) for place in self.places]
        answers = answer_questions(network, self.tokenizer, self.predictor, self.questions, self.most, _PRECISION)
        return self._measures(found, answers)

    def of_file(self, llama: LlamaCpp, report: Callable[[int, int], None]) -> list[Measure]:
        """The metrics of a file loaded by llama.cpp.

        Args:
            llama: the file.
            report: called with the numbers of answers done and in total.
        """
        found, answers = [], []
        whole = self.tokenizer("a", add_special_tokens=False)["input_ids"][0]
        for place in self.places:
            found.append(-llama.log_probabilities(place.before, self.rows, whole)[place.token])
        for done, question in enumerate(self.questions, start=1):
            ids = llama.complete(question.prompt_ids, self.most).ids
            text = self.tokenizer.decode(self.predictor.visible_ids(ids), skip_special_tokens=True)
            given = self.predictor.answer_text(text)
            answers.append(Answer(question.prompt, question.answer, given, question.place))
            report(done, len(self.questions))
        return self._measures(found, answers)

    def _measures(self, losses: Sequence[float], answers: Sequence[Answer]) -> list[Measure]:
        loss = [ratio("loss", losses, [1.0] * len(losses), higher_is_better=False, is_share=False)] if losses else []
        return [*loss, *(answer_measures(answers, self.own, self.is_known) if answers else [])]


def _loss_of_network(network: Any, place: Place) -> float:
    ids = torch.tensor([place.before], device=network.device)
    with torch.no_grad():
        logits = network(input_ids=ids, use_cache=False).logits[0, -1].float()
    return -float(logits.log_softmax(-1)[place.token])


def learned_places(encoder: Encoder, examples: Sequence[Any], most: int = PLACES) -> list[Place]:
    """Learned tokens of test rows, spread evenly over all of them."""
    found = list(_learned(encoder, examples))
    chosen = range(0, len(found), max(1, -(-len(found) // most)))
    return [Place(list(map(int, found[one][0][: found[one][1]])), int(found[one][0][found[one][1]])) for one in chosen]


def _learned(encoder: Encoder, examples: Sequence[Any]) -> Iterator[tuple[Sequence[int], int]]:
    """The ids of each part of an example, with the index of each learned token that has one before it."""
    for example in examples:
        for segment in encoder.segments(example):
            yield from ((segment.ids, index) for index, is_on in enumerate(segment.is_learned) if is_on and index)
