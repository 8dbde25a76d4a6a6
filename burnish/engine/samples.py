"""Answers to a few validation rows, given at validations, so that one can read what a run has learned so far."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from burnish.engine.random_state import random_tensors, random_values, restore_random
from burnish.models.device import RAISED, free_memory, ran_out
from burnish.runs.events import Event, Note, Sampled
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.questions import answer_batches, written_answers
from burnish.tasks.task import Question, Task

MOST_TOKENS = 64
"""Of a written answer: how it begins shows what the model has learned, and the evaluation at the end has all of it."""
_SHARE = 0.05
"""Of the training time that answers may take; the first, those of the base model, are always given."""
_LONGEST = 600
"""Characters of a text that are kept."""


@dataclass(slots=True)
class Samples:
    """The rows whose answers are watched. Nothing that a run computes depends on them.

    A task that writes answers writes them here, greedily. Of other tasks the validation has computed them already.
    """

    task: Task
    tokenizer: Any
    number: int
    """Rows."""
    questions: Sequence[Question]
    """As many at most; none where the task writes nothing."""
    max_new_tokens: int
    precision: str
    seconds: float = 0.0
    """That answers have taken since those of the base."""

    def take(self, network: Any, evaluated: EvaluatedExamples | None, step: int, trained: float) -> Event | None:
        """The answers after a step, or why there are none from now on; None where they would take too much time.

        Args:
            network: in evaluation mode.
            evaluated: the results of this validation.
            step: optimizer steps done.
            trained: seconds of training so far.
        """
        if not self.questions:
            return self._described(evaluated, step)
        if self.number == 0 or (step and self.seconds > _SHARE * trained):
            return None
        started = time.perf_counter()
        generators = random_tensors(), random_values()
        try:
            answers = self._written(network)
        except RAISED as error:
            if not ran_out(error):
                raise
            answers = None
        if answers is None:  # outside of the except block, because its traceback keeps tensors alive
            free_memory()
            self.number = 0
            return Note("There is not enough memory to write answers while the run trains, so none are shown.")
        restore_random(*generators)
        self.seconds += time.perf_counter() - started if step else 0.0
        rows = zip(self.questions, answers, strict=True)
        return Sampled(step, [_row(one.prompt, one.answer, given, one.place) for one, given in rows])

    def _written(self, network: Any) -> list[str]:
        given: dict[int, str] = {}
        longest = min(MOST_TOKENS, self.max_new_tokens)
        for chosen in answer_batches(self.questions):
            asked = [self.questions[index] for index in chosen]
            predictor = self.task.predictor
            texts = written_answers(network, self.tokenizer, predictor, asked, longest, self.precision)
            given.update(zip(chosen, texts, strict=True))
        return [given[index] for index in range(len(self.questions))]

    def _described(self, evaluated: EvaluatedExamples | None, step: int) -> Event | None:
        """The predictions of the first rows, as far as the task can describe them."""
        if evaluated is None:
            return None
        pairs = zip(evaluated.examples, evaluated.outputs, strict=True)
        found = (
            (self.task.scorer.describe(example, output), example.place)
            for example, output in pairs
            if output is not None
        )
        rows = [_row(*said, place) for said, place in islice(found, self.number) if said is not None]
        if rows or step:
            return Sampled(step, rows) if rows else None
        return Note(f"`evaluate.samples` shows nothing: the task `{self.task.name}` gives no answers that can be read.")


def _row(prompt: str, expected: str, given: str, place: str) -> dict[str, str]:
    texts = {"prompt": prompt, "expected": expected, "given": given}
    return {**{name: text.strip()[:_LONGEST] for name, text in texts.items()}, "place": place}
