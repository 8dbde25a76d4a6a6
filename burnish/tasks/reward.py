"""Task `reward`: a score for answers, learned from pairs of which one is better."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy
import torch

from burnish.data.batching.batches import Batch
from burnish.data.preference.format import ScoredFormat
from burnish.data.preference.rows import is_dialogue_text, read_answer, read_prompt, read_turns_of_text
from burnish.data.rows.patterns import ANSWER, PROMPT, TURNS, pick
from burnish.data.rows.records import Messages, PreferenceRecord
from burnish.data.rows.row import RowError
from burnish.data.tokens.text_pairs import ReadTokens, read_inputs
from burnish.errors import InputError
from burnish.kernels.preference import dpo_loss
from burnish.metrics.measure import Measure, mean
from burnish.models.heads import Head, row_logits
from burnish.recipe.schema import Recipe
from burnish.tasks.defaults import TaskDefaults
from burnish.tasks.task import EncodedRow, Judged, Outcome


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """Two dialogues as token ids, the better one first."""

    chosen: ReadTokens
    rejected: ReadTokens
    question: str
    """For showing, as is `answer`."""
    answer: str
    place: str

    num_trained = 1

    @property
    def num_tokens(self) -> int:
        """Tokens of both dialogues."""
        return len(self.chosen.input_ids) + len(self.rejected.input_ids)


class RewardTask(TaskDefaults):
    """Learns to score answers so that the better one of a pair has the higher score."""

    name: ClassVar[str] = "reward"
    snippets: ClassVar[tuple[str, str]] = ("", "reward")
    learned: ClassVar[str] = "scores answers: the better one of a pair gets the higher score"
    pipeline: ClassVar[str] = "text-classification"
    kinds: ClassVar[tuple[str, ...]] = ("causal", "masked")
    step_rows: ClassVar[int] = 16
    headline: ClassVar[str] = "accuracy"

    def __init__(self, tokenizer: Any, recipe: Recipe) -> None:
        self._tokenizer = tokenizer
        self._format = ScoredFormat(tokenizer)
        self._context = recipe.data.context

    @property
    def head(self) -> Head:
        """One output, whatever the base model told apart before."""
        config = {"num_labels": 1, "ignore_mismatched_sizes": True}
        return Head("AutoModelForSequenceClassification", "SEQ_CLS", config)

    def encode(self, record: PreferenceRecord, context: int) -> EncodedRow:
        """Both dialogues whole; where they are too long, their prompt is cut from the left."""
        (chosen, rejected), cut = self._format.pair(record, context)
        asked, said = record.prompt[-1]["content"], record.chosen[-1]["content"]
        return EncodedRow([ScoredPair(chosen, rejected, asked, said, record.place)], cut)

    def collate(
        self, examples: Sequence[ScoredPair], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None
    ) -> Batch:
        """Two rows for each pair, the better one first. `targets` has nothing to say and is empty."""
        chosen = tuple(index for row in rows for index in row)
        read = [each for index in chosen for each in (examples[index].chosen, examples[index].rejected)]
        inputs = read_inputs(read, self._tokenizer.pad_token_id or 0)
        num_tokens = sum(examples[index].num_tokens for index in chosen)
        return Batch(inputs, torch.empty(0), chosen, torch.tensor(chosen), num_tokens)

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[pairs]` fp32: -log sigmoid of the difference of the scores (Bradley and Terry 1952; arXiv 2203.02155)."""
        return _pair_losses(self._scores(network, batch))

    def judge(self, network: Any, batch: Batch) -> Outcome:
        """The losses, and both scores of each pair."""
        scores = self._scores(network, batch)
        return Outcome(_pair_losses(scores), [tuple(pair) for pair in scores.tolist()])

    def measures(self, judged: Judged) -> list[Measure]:
        """Share of pairs whose better answer scores higher (ties count half), and by how much it does."""
        scores = [output for output in judged.outputs if output is not None]
        margins = -numpy.diff(numpy.array(scores, dtype=numpy.float64).reshape(-1, 2), axis=1)[:, 0]
        return [mean("accuracy", (numpy.sign(margins) + 1) / 2), mean("margin", margins, is_share=False)]

    def shown(self, example: ScoredPair, output: tuple[float, float]) -> tuple[str, str, str]:
        """The question, the better answer, and the scores of both."""
        better, worse = output
        return example.question, example.answer, f"scores {better:+.3f}, the worse answer {worse:+.3f}"

    def respond(self, network: Any, prompt: str) -> str:
        """The score of a dialogue (a JSON list of messages, an object with a prompt and an answer, or text with
        `Human:` and `Assistant:`), or of any other text as it stands.

        Raises:
            InputError: it is a dialogue, and its last answer is missing or too long.
        """
        try:
            dialogue = _dialogue(prompt)
            context = int(self._context)
            read = self._format.text(prompt, context) if dialogue is None else self._format.single(*dialogue, context)
        except RowError as error:
            raise InputError("this dialogue cannot be scored", f"{error}.") from error
        device = next(network.parameters()).device
        inputs = {name: tensor.to(device) for name, tensor in read_inputs([read], 0).items()}
        return f"{row_logits(network, inputs).item():+.3f}"

    def _scores(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[pairs, 2]` fp32, the better one first."""
        return row_logits(network, batch.inputs).float().view(-1, 2)


def _pair_losses(scores: torch.Tensor) -> torch.Tensor:
    return dpo_loss(scores[:, 0], scores[:, 1], beta=1.0)


def _dialogue(prompt: str) -> tuple[Messages, Messages] | None:
    """(question, answer) that a user's words spell; None where they are no dialogue. Raises RowError."""
    text = prompt.strip()
    if is_dialogue_text(text):
        turns = read_answer(read_turns_of_text(text, "prompt"), "prompt")
        return _parted(turns)
    if text[:1] not in ("{", "["):
        return None
    try:
        values = json.loads(text)
    except ValueError:
        return None
    if isinstance(values, list):
        return _parted(read_answer(values, "messages"))
    name, turns = pick(values, TURNS)
    if turns is not None:
        return _parted(read_answer(turns, name))
    (asks, asked), (says, said) = pick(values, PROMPT), pick(values, (*ANSWER, "chosen"))
    if asked is None and said is None:
        return None
    return read_prompt(asked, asks, ""), read_answer(said, says)


def _parted(turns: Messages) -> tuple[Messages, Messages]:
    if len(turns) < 2:
        raise RowError("it holds an answer and no question")
    return turns[:-1], turns[-1:]
