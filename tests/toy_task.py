"""A task that the package does not know, in one file: how many words a text has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch

from burnish.data.batching.batches import Batch
from burnish.data.rows.records import TextRecord
from burnish.data.rows.row import EncodedRow
from burnish.data.tokens.text_pairs import PairFormat, read_inputs
from burnish.metrics.measure import Measure, mean
from burnish.models.heads import Head, row_logits
from burnish.recipe.schema import Recipe
from burnish.tasks.defaults import EncoderDefaults, ObjectiveDefaults, PredictorDefaults, ScorerDefaults
from burnish.tasks.evaluated import BatchOutcome, EvaluatedExamples
from burnish.tasks.task import Parts, Segment, TaskFacts

_SCALE = 10.0
"""Words to which the model's output of 1 corresponds."""


@dataclass(frozen=True, slots=True)
class CountedText:
    """A text as token ids, with its number of words."""

    input_ids: list[int]
    token_types: list[int] | None
    words: int
    text: str
    place: str

    num_trained = 1

    @property
    def num_tokens(self) -> int:
        """Tokens read."""
        return len(self.input_ids)


class CountEncoder(EncoderDefaults):
    """Texts as the model reads them."""

    cut_from = "from their end"

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._format = PairFormat(tokenizer)

    def encode(self, record: TextRecord, context: int) -> EncodedRow:
        """One example."""
        read = self._format.encode([record.text], context)
        words = len(record.text.split())
        return EncodedRow(
            [CountedText(read.input_ids, read.token_types, words, record.text, record.place)], read.truncated
        )

    def collate(
        self, examples: Sequence[CountedText], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None
    ) -> Batch:
        """`targets` `[rows]`: the number of words, scaled."""
        chosen = tuple(index for (index,) in rows)
        read = [examples[index] for index in chosen]
        targets = torch.tensor([example.words / _SCALE for example in read])
        inputs = read_inputs(read, self._tokenizer.pad_token_id)
        return Batch(inputs, targets, chosen, torch.tensor(chosen), sum(one.num_tokens for one in read))

    def segments(self, example: CountedText) -> list[Segment]:
        """The text; what is learned is a number."""
        return [Segment("", example.input_ids, [False] * example.num_tokens, f"learned: {example.words} words")]


class CountObjective(ObjectiveDefaults):
    """The squared error of the number."""

    head = Head("AutoModelForSequenceClassification", "SEQ_CLS", {"num_labels": 1, "ignore_mismatched_sizes": True})
    step_rows = 8

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[rows]` fp32."""
        return (row_logits(network, batch.inputs)[:, 0].float() - batch.targets) ** 2


class CountScorer(ScorerDefaults):
    """By how many words the number is wrong."""

    headline = "words off"

    def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
        """The squared errors, and the numbers given."""
        given = row_logits(network, batch.inputs)[:, 0].float()
        return BatchOutcome((given - batch.targets) ** 2, (_SCALE * given).tolist())

    def measures(self, evaluated: EvaluatedExamples) -> list[Measure]:
        """The mean distance."""
        pairs = zip(evaluated.examples, evaluated.outputs, strict=True)
        off = numpy.array([abs(example.words - given) for example, given in pairs])
        return [mean("words off", off, higher_is_better=False, is_share=False)]

    def describe(self, example: CountedText, output: float) -> tuple[str, str, str]:
        """The text, its number of words, and the number given."""
        return example.text, str(example.words), f"{output:.1f}"


class CountPredictor(PredictorDefaults):
    """Counts the words of a text."""

    def __init__(self, encoder: CountEncoder, context: int) -> None:
        self._encoder = encoder
        self._context = context

    def respond(self, network: Any, prompt: str) -> str:
        """The number."""
        examples = self._encoder.encode(TextRecord(prompt, True, "prompt:1"), self._context).examples
        batch = self._encoder.collate(examples, [[0]], False, None).to(next(network.parameters()).device)
        return f"{_SCALE * row_logits(network, batch.inputs)[0, 0].item():.1f} words"


def _build(tokenizer: Any, recipe: Recipe) -> Parts:
    encoder = CountEncoder(tokenizer)
    return Parts(encoder, CountObjective(), CountScorer(), CountPredictor(encoder, int(recipe.data.context)))


COUNT_WORDS = TaskFacts(
    name="count-words",
    records=(TextRecord,),
    kinds=("masked", "causal"),
    build=_build,
    learned="counts the words of a text",
    pipeline="text-classification",
    usual_rows=(100, 1_000),
)
