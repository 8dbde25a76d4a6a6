"""The loss that every next-token task shares."""

from __future__ import annotations

from typing import Any

import torch

from burnish.data.batches import Batch
from burnish.kernels.loss import token_losses


def next_token_losses(network: Any, batch: Batch) -> torch.Tensor:
    """`[trained]` fp32: negative log-likelihood of each trained token.

    No attention mask is passed: transformers reads the borders of packed examples from `position_ids`, and padding at
    the end of a row is never seen by a causal model.
    """
    positions = {} if batch.position_ids is None else {"position_ids": batch.position_ids}
    output = network(input_ids=batch.input_ids, use_cache=False, **positions)
    return token_losses(output.logits, batch.targets)
