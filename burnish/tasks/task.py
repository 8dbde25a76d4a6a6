"""What every task offers. The engine and the evaluation know tasks by this alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch

from burnish.data.batches import Batch
from burnish.data.row import Example, Rejected, RowError


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt whose answer is known, for judging generated answers."""

    prompt_ids: list[int]
    prompt: str
    """The prompt in words, for showing."""
    answer: str
    place: str


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """What one record became."""

    examples: list[Example]
    truncated_tokens: int


class Task(Protocol):
    """How a record becomes token ids and labels, what the loss is, and which questions judge the result."""

    name: ClassVar[str]

    @property
    def notes(self) -> list[str]:
        """What was adapted for this tokenizer, in sentences."""
        ...

    @property
    def stop_ids(self) -> list[int]:
        """Tokens at which a generated answer ends."""
        ...

    def encode(self, record: Any, context: int) -> EncodedRow:
        """Token ids and labels of a record, none longer than `context` tokens.

        Raises:
            RowError: nothing can be learned from this record.
        """
        ...

    def prompt_ids(self, prompt: Any) -> list[int]:
        """What the model is fed to go on from: a string, or what else the task understands as a prompt."""
        ...

    def token_losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[trained]` fp32: the loss of every trained token, in nats, in the order of the batch's positions."""
        ...

    def answer_in(self, text: str) -> str:
        """The part of a generated text that is the answer, as it is shown and compared."""
        ...

    def question(self, record: Any) -> Question | None:
        """The record as a question with a known answer, or None where the task has no answers to generate."""
        ...


@dataclass(slots=True)
class Encoded:
    """Records as examples, with what did not make it."""

    examples: list[Example]
    owners: list[int]
    """For each example, the index of its record."""
    rejected: list[Rejected]
    truncated_rows: int = 0
    truncated_tokens: int = 0

    @property
    def num_tokens(self) -> int:
        """Tokens of all examples."""
        return sum(len(example.input_ids) for example in self.examples)

    @property
    def num_trained(self) -> int:
        """Tokens that add to the loss."""
        return sum(example.num_trained for example in self.examples)


def encode_records(task: Task, records: Sequence[Any], context: int) -> Encoded:
    """Encodes every record; one that nothing can be learned from is named in `rejected`, never dropped silently."""
    encoded = Encoded([], [], [])
    for index, record in enumerate(records):
        try:
            row = task.encode(record, context)
            if not any(example.num_trained for example in row.examples):
                raise RowError("no token of it is trained on")
        except RowError as error:
            file, _, line = record.place.rpartition(":")
            encoded.rejected.append(Rejected(file, int(line), str(error)))
            continue
        encoded.examples += row.examples
        encoded.owners += [index] * len(row.examples)
        encoded.truncated_rows += row.truncated_tokens > 0
        encoded.truncated_tokens += row.truncated_tokens
    return encoded
