"""What most tasks have in common; and the encoder and objective of those that learn the next token."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from burnish.data.batching.batches import Batch, collate_tokens
from burnish.data.chat.calls import CallForm
from burnish.data.chat.reading import AnswerReader
from burnish.data.rows.row import IGNORED, EncodedRow, Example, RowError
from burnish.data.tokens.tokens import TokenRequests, Tokens, run_requests, run_requests_batched
from burnish.metrics.measure import Measure, MetricTable
from burnish.models.heads import ALL_LOGITS, CAUSAL, Head, computes_from_hidden, losses_at
from burnish.tasks.evaluated import BatchOutcome, EvaluatedExamples
from burnish.tasks.task import Objective, Question, Segment


class EncoderDefaults:
    """Each example has its own row, and records are encoded one by one."""

    can_pack: bool = False
    cut_from: str = "from the left of their prompts"

    @property
    def notes(self) -> list[str]:
        """None."""
        return []

    def notes_on(self, keys: Collection[str]) -> list[str]:
        """None."""
        return []

    def encode(self, record: Any, context: int) -> EncodedRow:
        """Each encoder defines its own."""
        raise NotImplementedError

    def encode_all(self, records: Sequence[Any], context: int) -> Iterable[EncodedRow | RowError]:
        """One by one."""
        for record in records:
            try:
                yield self.encode(record, context)
            except RowError as error:
                yield error.with_traceback(None)

    def held_out_remarks(self, records: Sequence[Any]) -> list[str]:
        """None."""
        return []

    def disable_packing(self) -> None:
        """Nothing to do: examples share a row only if the plan packs them."""

    def segments(self, example: Any) -> list[Segment]:
        """The labelled tokens are learned, except the first one, which is never predicted."""
        learned = [number > 0 and label != IGNORED for number, label in enumerate(example.labels)]
        return [Segment("", example.input_ids, learned)]


class RequestsTokens(EncoderDefaults, ABC):
    """An encoder that requests token ids, so that many records are tokenized together."""

    _tokens: Tokens

    @abstractmethod
    def _requests(self, record: Any, context: int) -> TokenRequests[EncodedRow]:
        """Encodes one record, yielding its token requests. Raises RowError if nothing can be learned from it."""

    def encode(self, record: Any, context: int) -> EncodedRow:
        """Encodes a single record. Raises RowError if nothing can be learned from it."""
        return run_requests(self._tokens, self._requests(record, context))

    def encode_all(self, records: Sequence[Any], context: int) -> Iterable[EncodedRow | RowError]:
        """Encodes many records, with batched calls of the tokenizer."""
        return run_requests_batched(self._tokens, [self._requests(record, context) for record in records])


class ObjectiveDefaults:
    """Works with any causal language model, and each batch is independent of the others."""

    head: Head = CAUSAL
    step_rows: int = 0
    rate_factor: float = 1.0

    def inspect_model(self, network: Any) -> list[str]:
        """Any model is supported."""
        return []

    def frozen_modules(self, network: Any) -> tuple[str, ...]:
        """None."""
        return ()

    def units(self, network: Any) -> dict[str, float]:
        """None: no weight has a unit."""
        return {}

    def prepare_examples(
        self, network: Any, examples: Sequence[Any], batches: Iterable[Batch], precision: str
    ) -> Sequence[Any]:
        """The examples unchanged: nothing is computed with the base model."""
        return examples

    def placeholder_examples(self, examples: Sequence[Any]) -> Sequence[Any]:
        """The examples unchanged."""
        return examples

    def begin_step(self, network: Any, batches: Iterable[Batch]) -> None:
        """Nothing to prepare: the losses of a batch do not depend on other batches."""

    def shared_sums(self) -> list[float]:
        """None."""
        return []

    def take_sums(self, sums: Sequence[float]) -> None:
        """There are none."""


class ScorerDefaults:
    """The loss is the only metric."""

    headline: str = "loss"
    compares_answers: bool = True

    @property
    def headline_is_share(self) -> bool:
        """A loss is none."""
        return self.headline != "loss"

    def measures(self, evaluated: EvaluatedExamples) -> list[Measure]:
        """No metrics besides the loss."""
        return []

    def chance_loss(self, evaluated: EvaluatedExamples) -> Measure | None:
        """None: there are no label frequencies."""
        return None

    def tables(self, evaluated: EvaluatedExamples) -> list[MetricTable]:
        """No tables."""
        return []

    def remark(self, evaluated: EvaluatedExamples) -> str:
        """No remark."""
        return ""

    def describe(self, example: Any, output: Any) -> tuple[str, str, str] | None:
        """None."""
        return None


class PerplexityScorer(ScorerDefaults):
    """The loss and the perplexity."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective

    def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
        """The losses; the metrics need no outputs."""
        return BatchOutcome(self._objective.losses(network, batch), [])

    def measures(self, evaluated: EvaluatedExamples) -> list[Measure]:
        """Perplexity."""
        return [evaluated.perplexity()]


class PredictorDefaults:
    """For tasks that do not generate, and whose result consists of weights and tokenizer."""

    further_ends: tuple[int, ...] = ()

    @property
    def ends(self) -> list[int]:
        """None."""
        return []

    @property
    def stop_ids(self) -> list[int]:
        """Those of the task, then the further ones."""
        return list(dict.fromkeys((*self.ends, *self.further_ends)))

    def prompt_ids(self, prompt: Any, tools: Sequence[Mapping[str, Any]] | None = None) -> list[int]:
        """Not for tasks that do not generate."""
        raise TypeError(f"{type(self).__name__} does not generate text")

    @property
    def call_form(self) -> CallForm | None:
        """None: no tools are called."""
        return None

    def reader(self, prompt_ids: Sequence[int], with_calls: bool = False) -> AnswerReader:
        """Everything is words, but for a thought in tags at the beginning."""
        return AnswerReader()

    def prompt_inputs(self, prompt: Any) -> dict[str, torch.Tensor] | None:
        """None: the token ids are enough."""
        return None

    def visible_ids(self, ids: Sequence[int]) -> Sequence[int]:
        """All ids."""
        return ids

    def answer_text(self, text: str) -> str:
        """The whole text."""
        return text

    def question(self, record: Any) -> Question | None:
        """None: nothing is generated."""
        return None

    def request(self, record: Any) -> Question | None:
        """The question."""
        return self.question(record)

    def served_prompts(self, record: Any) -> list[list[int]]:
        """The prompt of the question."""
        question = self.question(record)
        return [] if question is None else [list(question.prompt_ids)]

    def trained_prompt(self, record: Any, example: Any) -> tuple[list[int], list[int]]:
        """Splits before the labelled tokens at the end."""
        return split_answer(example.input_ids, example.labels)

    def respond(self, network: Any, prompt: str) -> str:
        """Not for tasks that generate; those use `prompt_ids`."""
        raise TypeError(f"{type(self).__name__} generates its answers")

    def num_cut(self, prompt: str) -> int:
        """None: a long text is answered in parts."""
        return 0

    def save_extras(self, folder: Path) -> None:
        """Nothing to save."""


def split_answer(ids: Sequence[int], labels: Sequence[int]) -> tuple[list[int], list[int]]:
    """Splits ids into those before the labelled ones at the end, and the labelled ones."""
    start = len(ids)
    while start > 0 and labels[start - 1] != IGNORED:
        start -= 1
    return [int(token) for token in ids[:start]], [int(token) for token in ids[start:]]


class RowFormat(Protocol):
    """How a record is written as tokens, and which of them are learned."""

    @property
    def tokens(self) -> Tokens:
        """Encodes the texts that `requests` yields."""
        ...

    def requests(self, record: Any, context: int) -> TokenRequests[EncodedRow]:
        """The examples of a record, none longer than `context` tokens. Raises RowError if nothing can be learned."""
        ...


class NextTokenEncoder(RequestsTokens):
    """Encodes labelled tokens, which the plan may pack."""

    can_pack = True

    def __init__(self, tokenizer: Any, row_format: RowFormat) -> None:
        self._tokenizer = tokenizer
        self._format = row_format
        self._tokens = row_format.tokens

    def _requests(self, record: Any, context: int) -> TokenRequests[EncodedRow]:
        """As the format has it."""
        return self._format.requests(record, context)

    def collate(
        self, examples: Sequence[Example], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None
    ) -> Batch:
        """Token ids, and the next tokens as targets."""
        return collate_tokens(examples, rows, self._tokenizer.pad_token_id, packed)


class NextTokenObjective(ObjectiveDefaults):
    """Next-token loss of a causal language model on the labelled tokens."""

    def __init__(self, kernels: str) -> None:
        # until `inspect_model` has checked the model
        self._from_hidden = kernels == "fast"

    def inspect_model(self, network: Any) -> list[str]:
        """Avoids the logits of all tokens if the model's body and head can be called separately."""
        if not self._from_hidden:
            return []
        self._from_hidden = computes_from_hidden(network)
        return [] if self._from_hidden else [ALL_LOGITS]

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[trained]` fp32: negative log-likelihood of each trained token.

        No attention mask is passed: transformers derives the boundaries of packed examples from `position_ids`, and a
        causal model never sees padding at the end of a row.
        """
        return losses_at(network, batch.inputs, batch.places, batch.targets.flatten()[batch.places], self._from_hidden)
