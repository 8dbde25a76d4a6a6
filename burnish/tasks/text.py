"""Task `text`: running text, every token is trained on; and what every next-token task shares."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from burnish.data.batching.batches import Batch, collate_tokens
from burnish.data.rows.records import TextRecord
from burnish.data.rows.row import IGNORED, Example
from burnish.data.tokens.text import TextFormat
from burnish.data.tokens.tokens import TokenRequests
from burnish.metrics.measure import Measure
from burnish.models.heads import WHOLE, computes_in_halves, losses_at
from burnish.recipe.schema import Recipe
from burnish.tasks.defaults import EncodesTogether, TaskDefaults
from burnish.tasks.task import EncodedRow, Judged, Outcome


class NextTokenTask(TaskDefaults):
    """A causal language model learns the tokens that are labelled."""

    generates: ClassVar[bool] = True
    can_pack: ClassVar[bool] = True
    _tokenizer: Any
    _in_halves: bool = False

    def __init__(self, tokenizer: Any, recipe: Recipe) -> None:
        self._tokenizer = tokenizer
        # until `adapt` has seen the model, what most of them allow
        self._in_halves = recipe.model.kernels == "fast"

    def adapt(self, network: Any) -> list[str]:
        """Lets the loss go without the logits of all tokens where the model can be taken in halves."""
        if not self._in_halves:
            return []
        self._in_halves = computes_in_halves(network)
        return [] if self._in_halves else [WHOLE]

    def collate(
        self, examples: Sequence[Example], rows: Sequence[Sequence[int]], packed: bool, epoch: int | None
    ) -> Batch:
        """Token ids side by side, and the tokens that follow them."""
        return collate_tokens(examples, rows, self._tokenizer.pad_token_id, packed)

    def losses(self, network: Any, batch: Batch) -> torch.Tensor:
        """`[trained]` fp32: negative log-likelihood of each trained token.

        No attention mask is passed: transformers reads the borders of packed examples from `position_ids`, and padding
        at the end of a row is never seen by a causal model.
        """
        places = (batch.targets != IGNORED).flatten().nonzero()[:, 0]
        return losses_at(network, batch.inputs, places, batch.targets.flatten()[places], self._in_halves)

    def judge(self, network: Any, batch: Batch) -> Outcome:
        """The losses are all there is to see."""
        return Outcome(self.losses(network, batch), [])

    def measures(self, judged: Judged) -> list[Measure]:
        """Perplexity, the loss on another scale."""
        return [judged.perplexity()]


class TextTask(EncodesTogether, NextTokenTask):
    """Learns to go on writing."""

    name: ClassVar[str] = "text"
    trainer: ClassVar[str] = "SFTTrainer"
    snippets: ClassVar[tuple[str, str]] = ("text", "text")
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
