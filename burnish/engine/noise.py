"""Noise on the input embeddings during training (NEFTune, arXiv 2310.05914)."""

from __future__ import annotations

import math
from typing import Any

import torch


def add_embedding_noise(network: Any, alpha: float) -> None:
    """Adds uniform noise of at most `alpha / sqrt(tokens * width)` to the embeddings of every training pass.

    Not where no gradient is computed, as for a reference model, nor in evaluation. The tokens are those of a row as the
    network reads it, packed or padded.

    Args:
        network: trainable.
        alpha: 0 for none; usual are 5 to 15.
    """
    if not alpha:
        return

    def disturb(module: Any, given: Any, embedded: torch.Tensor) -> torch.Tensor:
        if not (module.training and torch.is_grad_enabled()):
            return embedded
        largest = alpha / math.sqrt(embedded.shape[-2] * embedded.shape[-1])
        return embedded + torch.empty_like(embedded).uniform_(-largest, largest)

    network.get_input_embeddings().register_forward_hook(disturb)
