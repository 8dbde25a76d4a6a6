"""What most encoders, objectives, scorers and predictors have in common; each overrides what is different."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from burnish.data.batching.batches import Batch
from burnish.data.rows.row import IGNORED, RowError
from burnish.data.tokens.tokens import TokenRequests, Tokens, run_requests, run_requests_batched
from burnish.metrics.measure import Measure, MetricTable
from burnish.models.heads import CAUSAL, Head
from burnish.tasks.evaluated import BatchOutcome, EvaluatedExamples
from burnish.tasks.task import EncodedRow, Objective, Question, Segment


class EncoderDefaults:
    """One example a row, and rows encoded one after the other."""

    can_pack: bool = False
    cut_from: str = "from the left of their prompts"

    @property
    def notes(self) -> list[str]:
        """Nothing was adapted."""
        return []

    def encode(self, record: Any, context: int) -> EncodedRow:
        """Every encoder has its own."""
        raise NotImplementedError

    def encode_all(self, records: Sequence[Any], context: int) -> Iterable[EncodedRow | RowError]:
        """One after the other."""
        for record in records:
            try:
                yield self.encode(record, context)
            except RowError as error:
                yield error.with_traceback(None)

    def disable_packing(self) -> None:
        """Nothing shares a row unless the plan packs it."""

    def segments(self, example: Any) -> list[Segment]:
        """Labelled tokens; the first one is never predicted, so it is not learned even where it has a label."""
        learned = [number > 0 and label != IGNORED for number, label in enumerate(example.labels)]
        return [Segment("", example.input_ids, learned)]


class RequestsTokens(EncoderDefaults, ABC):
    """An encoder that asks for token ids, so that many rows are tokenized together."""

    _tokens: Tokens

    @abstractmethod
    def _requests(self, record: Any, context: int) -> TokenRequests[EncodedRow]:
        """The work on one record. Raises RowError where nothing can be learned from it."""

    def encode(self, record: Any, context: int) -> EncodedRow:
        """A record on its own. Raises RowError where nothing can be learned from it."""
        return run_requests(self._tokens, self._requests(record, context))

    def encode_all(self, records: Sequence[Any], context: int) -> Iterable[EncodedRow | RowError]:
        """Many records, in the tokenizer's batches."""
        return run_requests_batched(self._tokens, [self._requests(record, context) for record in records])


class ObjectiveDefaults:
    """Any causal language model as it is, and each batch by itself."""

    head: Head = CAUSAL
    step_rows: int = 0
    rate_factor: float = 1.0

    def inspect_model(self, network: Any) -> list[str]:
        """Any model will do."""
        return []

    def frozen_modules(self, network: Any) -> tuple[str, ...]:
        """Everything may be trained."""
        return ()

    def prepare_examples(
        self, network: Any, examples: Sequence[Any], batches: Iterable[Batch], precision: str
    ) -> Sequence[Any]:
        """Nothing has to be measured on the base model."""
        return examples

    def placeholder_examples(self, examples: Sequence[Any]) -> Sequence[Any]:
        """Nothing would be measured."""
        return examples

    def begin_step(self, network: Any, batches: Iterable[Batch]) -> None:
        """The losses of a batch depend on no other."""


class ScorerDefaults:
    """The loss alone."""

    headline: str = "loss"
    compares_answers: bool = True

    def measures(self, evaluated: EvaluatedExamples) -> list[Measure]:
        """No metric besides the loss."""
        return []

    def chance_loss(self, evaluated: EvaluatedExamples) -> Measure | None:
        """Answers have no frequencies."""
        return None

    def tables(self, evaluated: EvaluatedExamples) -> list[MetricTable]:
        """No table."""
        return []

    def remark(self, evaluated: EvaluatedExamples) -> str:
        """The metrics speak for themselves."""
        return ""

    def describe(self, example: Any, output: Any) -> tuple[str, str, str] | None:
        """Nothing to show in words."""
        return None


class PerplexityScorer(ScorerDefaults):
    """The loss of a text, and the same on another scale."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
        """The losses; the metrics need nothing else."""
        return BatchOutcome(self._objective.losses(network, batch), [])

    def measures(self, evaluated: EvaluatedExamples) -> list[Measure]:
        """Perplexity."""
        return [evaluated.perplexity()]


class PredictorDefaults:
    """Nothing is generated, and weights and tokenizer are all that a result consists of."""

    @property
    def stop_ids(self) -> list[int]:
        """Nothing is generated."""
        return []

    def prompt_ids(self, prompt: Any) -> list[int]:
        """Not for tasks that do not generate."""
        raise TypeError(f"{type(self).__name__} does not generate text")

    def prompt_inputs(self, prompt: Any) -> dict[str, torch.Tensor] | None:
        """Token ids are all it needs."""
        return None

    def visible_ids(self, ids: Sequence[int]) -> Sequence[int]:
        """All of them."""
        return ids

    def answer_text(self, text: str) -> str:
        """All of it."""
        return text

    def question(self, record: Any) -> Question | None:
        """Nothing to generate."""
        return None

    def served_prompts(self, record: Any) -> list[list[int]]:
        """That of the question."""
        question = self.question(record)
        return [] if question is None else [list(question.prompt_ids)]

    def trained_prompt(self, record: Any, example: Any) -> tuple[list[int], list[int]]:
        """Split before the labelled tokens at the end."""
        return split_answer(example.input_ids, example.labels)

    def respond(self, network: Any, prompt: str) -> str:
        """Not for tasks that generate, which are asked through `prompt_ids`."""
        raise TypeError(f"{type(self).__name__} generates its answers")

    def save_extras(self, folder: Path) -> None:
        """Nothing else."""


def split_answer(ids: Sequence[int], labels: Sequence[int]) -> tuple[list[int], list[int]]:
    """The ids before the labelled ones at the end, and those."""
    start = len(ids)
    while start > 0 and labels[start - 1] != IGNORED:
        start -= 1
    return [int(token) for token in ids[:start]], [int(token) for token in ids[start:]]
