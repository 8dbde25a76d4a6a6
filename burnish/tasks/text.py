"""Task `text`: running text; every token is trained on."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from burnish.data.batches import Batch
from burnish.data.records import TextRecord
from burnish.data.text_format import TextFormat
from burnish.tasks.next_token import next_token_losses
from burnish.tasks.task import EncodedRow, Question


class TextTask:
    """Learns to go on writing."""

    name: ClassVar[str] = "text"

    def __init__(self, tokenizer: Any) -> None:
        self._format = TextFormat(tokenizer)
        self._eos = tokenizer.eos_token_id

    @property
    def notes(self) -> list[str]:
        """Running text needs no adapting."""
        return []

    @property
    def stop_ids(self) -> list[int]:
        """EOS, where the tokenizer has one."""
        return [] if self._eos is None else [self._eos]

    def encode(self, record: TextRecord, context: int) -> EncodedRow:
        """Splits a text into examples of at most `context` tokens; nothing is cut off."""
        return EncodedRow(self._format.encode(record, context), 0)

    def prompt_ids(self, prompt: str) -> list[int]:
        """The beginning of a text, as a training text begins."""
        return self._format.prompt_ids(prompt)

    def token_losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[trained]` fp32, in nats."""
        return next_token_losses(network, batch)

    def answer_in(self, text: str) -> str:
        """All of it."""
        return text

    def question(self, record: TextRecord) -> Question | None:
        """Running text has no answer to compare with."""
        return None
