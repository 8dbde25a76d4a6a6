"""Task `reward`: scores answers, learned from pairs of a better and a worse answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch

from burnish.data.batching.batches import Batch
from burnish.data.preference.format import ScoredFormat
from burnish.data.preference.rows import read_dialogue
from burnish.data.rows.records import PreferenceRecord
from burnish.data.rows.row import EncodedRow, RowError, as_json
from burnish.data.tokens.text_pairs import ReadTokens, read_inputs
from burnish.errors import InputError
from burnish.kernels.preference import dpo_loss
from burnish.metrics.measure import Measure, mean
from burnish.metrics.rewards import wins
from burnish.models.heads import SEQUENCE_CLASSIFIER, Head, row_logits
from burnish.models.sharded import device_of
from burnish.recipe.schema import Recipe
from burnish.tasks.defaults import EncoderDefaults, ObjectiveDefaults, ScorerDefaults
from burnish.tasks.evaluated import BatchOutcome, EvaluatedExamples
from burnish.tasks.predictions import NUMBER, TextsPredictor
from burnish.tasks.task import Parts, Segment, TaskFacts


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """Two dialogues as token ids, the better one first."""

    chosen: ReadTokens
    rejected: ReadTokens
    question: str
    """For display, like `answer`."""
    answer: str
    place: str

    num_trained = 1

    @property
    def num_tokens(self) -> int:
        """Tokens of both dialogues."""
        return len(self.chosen.input_ids) + len(self.rejected.input_ids)


class RewardEncoder(EncoderDefaults):
    """Encodes both dialogues of a pair."""

    def __init__(self, tokenizer: Any, scored_format: ScoredFormat) -> None:
        self._tokenizer = tokenizer
        self._format = scored_format

    def encode(self, record: PreferenceRecord, context: int) -> EncodedRow:
        """Both dialogues; if they are too long, their prompt is cut from the left."""
        (chosen, rejected), cut = self._format.pair(record, context)
        question, answer = record.prompt[-1]["content"], record.chosen[-1]["content"]
        return EncodedRow([ScoredPair(chosen, rejected, question, answer, record.place)], cut)

    def collate(
        self, examples: Sequence[ScoredPair], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None
    ) -> Batch:
        """Two rows for each pair, the better one first. `targets` is empty."""
        chosen = tuple(index for row in rows for index in row)
        read = [each for index in chosen for each in (examples[index].chosen, examples[index].rejected)]
        inputs = read_inputs(read, self._tokenizer.pad_token_id or 0)
        num_tokens = sum(examples[index].num_tokens for index in chosen)
        return Batch(inputs, torch.empty(0), chosen, torch.tensor(chosen), num_tokens)

    def segments(self, example: ScoredPair) -> list[Segment]:
        """Both dialogues, each with its score as a note."""
        chosen, rejected = example.chosen.input_ids, example.rejected.input_ids
        return [
            Segment("chosen", chosen, [False] * len(chosen), "learned: a higher score"),
            Segment("rejected", rejected, [False] * len(rejected), "learned: a lower score"),
        ]


class RewardObjective(ObjectiveDefaults):
    """Pairwise loss: the better answer should have the higher score."""

    head = Head(SEQUENCE_CLASSIFIER, "SEQ_CLS", {"num_labels": 1, "ignore_mismatched_sizes": True})
    step_rows = 16

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[pairs]` fp32: -log sigmoid of the difference of the scores (Bradley and Terry 1952; arXiv 2203.02155)."""
        return _pair_losses(_pair_scores(network, batch))


class RewardScorer(ScorerDefaults):
    """Measures how often, and by how much, the better answer has the higher score."""

    headline = "accuracy"

    def evaluate_batch(self, network: Any, batch: Batch) -> BatchOutcome:
        """The losses, and both scores of each pair."""
        scores = _pair_scores(network, batch)
        return BatchOutcome(_pair_losses(scores), [tuple(pair) for pair in scores.tolist()])

    def measures(self, evaluated: EvaluatedExamples) -> list[Measure]:
        """Share of pairs whose better answer scores higher (ties count half), and the mean margin."""
        scores = [output for output in evaluated.outputs if output is not None]
        margins = -numpy.diff(numpy.array(scores, dtype=numpy.float64).reshape(len(scores), 2), axis=1)[:, 0]
        return [mean("accuracy", wins(margins)), mean("margin", margins, is_share=False)]

    def describe(self, example: ScoredPair, output: tuple[float, float]) -> tuple[str, str, str]:
        """The question, the better answer, and the scores of both."""
        better, worse = output
        return example.question, example.answer, f"scores {better:+.3f}, the worse answer {worse:+.3f}"


class RewardPredictor(TextsPredictor):
    """Scores a dialogue or a text."""

    def __init__(self, scored_format: ScoredFormat, context: int | str, pad_id: int) -> None:
        self._format = scored_format
        self._context = context
        self._pad_id = pad_id

    @property
    def fields(self) -> tuple[str, ...]:
        """A question and its answer."""
        return "text_1", "text_2"

    def predict(self, network: Any, rows: Sequence[Sequence[str]]) -> list[float]:
        """The score of each answer to its question. A row of one text is read like a prompt of `respond`."""
        read = [self._read(texts[0]) if len(texts) == 1 else self._dialogue(texts) for texts in rows]
        return self._scores(network, read)

    def texts_of(self, values: Mapping[str, Any]) -> Sequence[str]:
        """The row as JSON, or its only text."""
        text = values.get("text")
        dialogue = text if isinstance(text, str) and len(values) == 1 else as_json(values, "the row")
        try:
            self._read(dialogue)
        except InputError as error:
            raise RowError(error.why.rstrip(".") or error.what) from error
        return (dialogue,)

    def num_left_out(self, texts: Sequence[str]) -> int:
        """Tokens at the beginning of the question."""
        return self._dialogue(texts).truncated

    def _dialogue(self, texts: Sequence[str]) -> ReadTokens:
        question, answer = texts
        asked, said = ({"role": "user", "content": question},), ({"role": "assistant", "content": answer},)
        try:
            return self._format.single(asked, said, int(self._context))
        except RowError as error:
            raise InputError("this answer cannot be scored", f"{error}.") from error

    def _scores(self, network: Any, read: Sequence[ReadTokens]) -> list[float]:
        device = device_of(network)
        inputs = {name: tensor.to(device) for name, tensor in read_inputs(read, self._pad_id).items()}
        return row_logits(network, inputs).float()[:, 0].tolist()

    def respond(self, network: Any, prompt: str) -> str:
        """The score of a dialogue (a JSON list of messages, an object with a prompt and an answer, or text with
        `Human:` and `Assistant:`), or of any other text as it is.

        Raises:
            InputError: it is a dialogue whose last answer is missing or too long.
        """
        (score,) = self._scores(network, [self._read(prompt)])
        return f"{score:+.3f}"

    def num_cut(self, prompt: str) -> int:
        """Tokens at the beginning of the dialogue, or at the end of another text."""
        return self._read(prompt).truncated

    def _read(self, prompt: str) -> ReadTokens:
        try:
            dialogue = read_dialogue(prompt)
            context = int(self._context)
            return self._format.text(prompt, context) if dialogue is None else self._format.single(*dialogue, context)
        except RowError as error:
            raise InputError("this conversation cannot be scored", f"{error}.") from error


def _pair_scores(network: Any, batch: Batch) -> torch.Tensor:
    """`[pairs, 2]` fp32, the better one first."""
    return row_logits(network, batch.inputs).float().view(-1, 2)


def _pair_losses(scores: torch.Tensor) -> torch.Tensor:
    return dpo_loss(scores[:, 0], scores[:, 1], beta=1.0)


def _build(tokenizer: Any, recipe: Recipe) -> Parts:
    scored_format = ScoredFormat(tokenizer, recipe.template.kwargs)
    predictor = RewardPredictor(scored_format, recipe.data.context, tokenizer.pad_token_id or 0)
    return Parts(RewardEncoder(tokenizer, scored_format), RewardObjective(), RewardScorer(), predictor)


REWARD = TaskFacts(
    name="reward",
    records=(PreferenceRecord,),
    kinds=("causal", "masked"),
    build=_build,
    sections=("template",),
    auto_class=RewardObjective.head.auto_class,
    learned="scores answers: the better one of a pair gets the higher score",
    predicts=NUMBER,
    pipeline="text-classification",
    sample="preferences.jsonl",
    snippets=("reward-pair", "reward"),
)
