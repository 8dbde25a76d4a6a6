"""Loss of a next-token model, on trained tokens only."""

from __future__ import annotations

import torch
from torch.nn import functional


def token_losses(logits: torch.Tensor, targets: torch.Tensor, ignored: int = -100) -> torch.Tensor:
    """Negative log-likelihood of every trained token.

    Args:
        logits: `[batch, seq, vocab]`, any float type; the softmax is taken in fp32.
        targets: `[batch, seq]`, the token that follows each position, `ignored` where nothing is trained.
        ignored: the target of positions that add nothing.

    Returns:
        `[trained]` fp32, in nats, in the order of the positions.
    """
    trained = (targets != ignored).nonzero(as_tuple=True)  # positions, not a mask: their number is known once, here
    return functional.cross_entropy(logits[trained].float(), targets[trained], reduction="none")
