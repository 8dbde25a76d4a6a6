"""What every next-token task shares: its batches and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from burnish.data.batches import Batch, collate_tokens
from burnish.data.row import IGNORED, Example
from burnish.metrics.measure import Measure
from burnish.models.output_layer import WHOLE, computes_in_halves, losses_at
from burnish.recipe.schema import Recipe
from burnish.tasks.defaults import TaskDefaults
from burnish.tasks.judged import Judged
from burnish.tasks.task import Outcome


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
