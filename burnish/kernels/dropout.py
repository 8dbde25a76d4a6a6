"""Dropout with a mask made of random bits, on the CPU.

PyTorch draws a number for every element, one after the other in one thread; that takes as long as some matrix products
of a small encoder. Here 64 random bits decide on four elements, which takes less than half of the time, with what the
mask is then used for (`bench/dropout.py`).
"""

from __future__ import annotations

from typing import Any

import torch

_BITS = 16
"""For each element: the share of elements that are kept is off by less than 1e-5."""
_WORD = 64


def drawn_mask(shape: torch.Size, dropout: float) -> torch.Tensor:
    """Which elements are kept: bool, on the CPU, drawn from torch's generator.

    Args:
        shape: of the mask.
        dropout: share of elements that are not kept, from 0 to below 1.
    """
    count, each = shape.numel(), _WORD // _BITS
    bits = torch.empty(-(-count // each), dtype=torch.int64).random_(-(2**63), None)
    least = round(dropout * 2**_BITS) - 2 ** (_BITS - 1)
    return (bits.view(torch.int16)[:count] >= least).view(shape)


def dropped_reference(inputs: torch.Tensor, mask: torch.Tensor, dropout: float) -> torch.Tensor:
    """`dropped` in single operations, with a mask that is known."""
    return inputs * mask / (1 - dropout)


def dropped(inputs: torch.Tensor, dropout: float) -> torch.Tensor:
    """Dropout in training (arXiv 1207.0580): elements are set to zero by chance, the others divided by the share kept.

    Args:
        inputs: floats of any shape, on the CPU.
        dropout: the chance of each, from 0 to below 1.
    """
    return _Dropped.apply(inputs, dropout)


class _Dropped(torch.autograd.Function):
    """Saves the mask alone for the backward pass."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, dropout: float) -> torch.Tensor:
        mask = drawn_mask(inputs.shape, dropout)
        ctx.save_for_backward(mask)
        ctx.scale = 1 / (1 - dropout)
        return torch.where(mask, inputs, 0.0).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (mask,) = ctx.saved_tensors
        return torch.where(mask, gradients[0], 0.0).mul_(ctx.scale), None
