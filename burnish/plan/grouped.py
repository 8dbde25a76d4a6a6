"""Products of the experts of a mixture, each with its own tokens: torch knows their shapes in bf16 alone, and counts no
operations for them."""

from __future__ import annotations

import math
from typing import Any

import torch

_GROUPED = torch.ops.aten._grouped_mm.default


def is_grouped(function: Any) -> bool:
    """Whether an operation multiplies groups of rows (or columns) with a matrix each."""
    return function is _GROUPED


def grouped_shape(left: torch.Tensor, right: torch.Tensor, offsets: torch.Tensor | None = None) -> tuple[int, ...]:
    """Shape of the product (`_create_grouped_mm_output_tensor` of torch 2.13).

    Args:
        left: `[tokens, in]`, or `[groups, rows, in]`.
        right: `[groups, in, out]`, or `[in, tokens]`; together with a left of two dimensions, `[tokens, out]`, where
            the groups are of the tokens that are summed over.
        offsets: ends of the groups, int32; None where both have the groups as a dimension.
    """
    if left.ndim == right.ndim == 2:
        return (0 if offsets is None else len(offsets), left.shape[0], right.shape[1])
    if left.ndim == right.ndim:
        return (*left.shape[:2], right.shape[2])
    return (left.shape[-2], right.shape[-1])


def grouped_product(
    left: torch.Tensor,
    right: torch.Tensor,
    offs: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> torch.Tensor:
    """A tensor like the product, with any values; the arguments are those of the operation."""
    return left.new_empty(grouped_shape(left, right, offs), dtype=out_dtype or left.dtype)


def grouped_flops(left: torch.Tensor, right: torch.Tensor, *args: Any) -> int:
    """Floating-point operations of the product: each token goes through one matrix."""
    shape = grouped_shape(left, right)
    if left.ndim == right.ndim == 2:
        return 2 * math.prod(shape[1:]) * left.shape[1]
    return 2 * math.prod(shape) * left.shape[-1]
