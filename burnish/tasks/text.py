"""Task `text`: running text; every token is trained on."""

from __future__ import annotations

from typing import Any, ClassVar

from burnish.data.records import TextRecord
from burnish.data.text_format import TextFormat
from burnish.data.token_requests import TokenRequests
from burnish.recipe.schema import Recipe
from burnish.tasks.next_token import NextTokenTask
from burnish.tasks.task import EncodedRow
from burnish.tasks.together import EncodesTogether


class TextTask(EncodesTogether, NextTokenTask):
    """Learns to go on writing."""

    name: ClassVar[str] = "text"
    learned: ClassVar[str] = "goes on writing texts like those that it was trained on"
    usual_rows: ClassVar[tuple[int, int] | None] = (1_000, 10_000)

    def __init__(self, tokenizer: Any, recipe: Recipe) -> None:
        super().__init__(tokenizer, recipe)
        self._format = TextFormat(tokenizer)
        self._tokens = self._format.tokens
        self._eos = tokenizer.eos_token_id

    @property
    def stop_ids(self) -> list[int]:
        """EOS, where the tokenizer has one."""
        return [] if self._eos is None else [self._eos]

    def _requests(self, record: TextRecord, context: int) -> TokenRequests[EncodedRow]:
        """Splits a text into examples of at most `context` tokens; nothing is cut off."""
        return EncodedRow((yield from self._format.requests(record, context)), 0)

    def prompt_ids(self, prompt: str) -> list[int]:
        """The beginning of a text, as a training text begins."""
        return self._format.prompt_ids(prompt)
