"""What every next-token task shares: its batches and its loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch

from burnish.data.batches import Batch, collate_tokens
from burnish.data.row import Example
from burnish.kernels.loss import token_losses
from burnish.metrics.measure import Measure
from burnish.tasks.judged import Judged
from burnish.tasks.task import Outcome, TaskDefaults


class NextTokenTask(TaskDefaults):
    """A causal language model learns the tokens that are labelled."""

    generates: ClassVar[bool] = True
    can_pack: ClassVar[bool] = True
    _tokenizer: Any

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
        output = network(**batch.inputs, use_cache=False)
        return token_losses(output.logits, batch.targets)

    def judge(self, network: Any, batch: Batch) -> Outcome:
        """The losses are all there is to see."""
        return Outcome(self.losses(network, batch), [])

    def measures(self, judged: Judged) -> list[Measure]:
        """Perplexity, the loss on another scale."""
        return [judged.perplexity()]
