"""Attention over many short sequences.

On the CPU, fused attention is optimized for long sequences and fp32. For a few dozen tokens, plain batched matrix
products are up to ten times as fast in bf16 and up to twice as fast in fp32 (`bench/attention.py`), and their `[seq,
seq]` scores are small.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from burnish.kernels.dropout import drawn_mask
from burnish.kernels.precision import arithmetic_type
from burnish.kernels.scratch import scratch

NAME = "burnish"
"""The name under which this attention is registered in transformers."""
SHORT, SHORT_HALF = 64, 512
"""Longest "short" sequence in fp32 and in 16-bit formats: about where both implementations are equally fast on a server
CPU with AVX-512, measured by `bench/attention.py`."""
REGISTER = 32
"""Numbers of 16 bits in the widest register of a CPU."""
COLUMNS_PER_REST = 8
"""Columns per number left over by whole registers, from which on torch's softmax is the faster one
(`bench/attention.py`)."""


def attention_reference(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    is_causal: bool = True,
    mask: torch.Tensor | None = None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Reference for `short_attention` with torch's own function; its dropout draws other random numbers."""
    shared = query.shape[1] != key.shape[1]
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=is_causal, scale=scale, enable_gqa=shared
    )


def short_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    is_causal: bool = True,
    mask: torch.Tensor | None = None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Attention over short sequences as plain matrix products. Scores are rounded to the compute dtype, as in
    transformers' eager attention; the softmax is computed in fp32.

    Args:
        query: `[batch, heads, seq, size]`.
        key: `[batch, key heads, seq, size]`; each key head serves `heads / key heads` query heads.
        value: same shape as `key`.
        scale: factor of the scores.
        is_causal: whether a token attends only to itself and earlier ones.
        mask: bool, broadcast to `[batch, heads, seq, seq]`, True where a token may be attended to; None for no further
            mask.
        dropout: share of the probabilities set to zero; the others are scaled up by 1 / (1 - dropout).

    Returns:
        `[batch, heads, seq, size]`.
    """
    dtype = arithmetic_type(query)
    with torch.autocast(query.device.type, enabled=False):
        return _ShortAttention.apply(query.to(dtype), key.to(dtype), value.to(dtype), scale, is_causal, mask, dropout)


class _ShortAttention(torch.autograd.Function):
    """Saves for backward the probabilities `[batch, heads, seq, seq]` in the input dtype, and the dropout mask."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
        is_causal: bool,
        mask: torch.Tensor | None,
        dropout: float,
    ) -> torch.Tensor:
        groups = key.shape[1]
        masked = masked_positions(query.shape[2], is_causal, mask, query.device)
        merged = (merge_heads(one, groups) for one in (query, key, value))
        output, *kept = attend_merged(*merged, scale=scale, batch=query.shape[0], masked=masked, dropout=dropout)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.scale, ctx.dropout = scale, dropout
        return output.view(query.shape)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, *kept = ctx.saved_tensors
        inputs = (merge_heads(one, key.shape[1]) for one in (gradient, query, key, value))
        made = attend_merged_backward(*inputs, *kept, scale=ctx.scale, dropout=ctx.dropout)
        shapes = (query.shape, key.shape, value.shape)
        return *(one.view(shape) for one, shape in zip(made, shapes, strict=True)), None, None, None, None


def attend_merged(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    batch: int,
    masked: torch.Tensor | None,
    dropout: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Attention over merged heads.

    Args:
        query: `[batch x groups, heads / groups x seq, size]`, from `merge_heads`.
        key: `[batch x groups, seq, size]`.
        value: same shape as `key`.
        scale: factor of the scores.
        batch: number of sequences.
        masked: bool, broadcast to `[batch, heads, seq, seq]`, True where a token is masked; None if none is.
        dropout: as in `short_attention`.

    Returns:
        The output, shaped like `query`; the probabilities `[batch x groups, heads / groups x seq, seq]`; and the bool
        mask of those that dropout keeps (None without dropout).
    """
    scores = _scaled_product(query, key.transpose(1, 2), scale)
    if masked is not None:  # not minus infinity: a row with all tokens masked would become NaN
        seq = key.shape[1]
        scores.view(batch, -1, seq, seq).masked_fill_(masked, torch.finfo(scores.dtype).min)
    probabilities = _softmax(scores)
    kept = _drawn(probabilities, dropout) if dropout else None
    return torch.bmm(_apply_dropout(probabilities, kept, dropout), value), probabilities, kept


def _drawn(probabilities: torch.Tensor, dropout: float) -> torch.Tensor:
    """Which probabilities are kept."""
    if probabilities.device.type == "cpu":
        return drawn_mask(probabilities.shape, dropout)
    return torch.empty_like(probabilities, dtype=torch.bool).bernoulli_(1 - dropout)


def _scaled_product(left: torch.Tensor, right: torch.Tensor, scale: float) -> torch.Tensor:
    """`scale * left @ right`, batched, in one pass: the product is scaled before it is rounded."""
    return torch.baddbmm(left.new_empty((1, 1, 1)), left, right, beta=0, alpha=scale)


def _softmax(scores: torch.Tensor) -> torch.Tensor:
    """Over the last dimension, in fp32 inside, whatever the type of the scores; on the CPU it may overwrite them."""
    columns = scores.shape[-1]
    is_fast = COLUMNS_PER_REST * (columns % REGISTER) <= columns
    if scores.device.type != "cpu" or scores.dtype == torch.float32 or is_fast:
        return torch.softmax(scores, -1)
    return softmax_of_copy(scores)


def softmax_of_copy(scores: torch.Tensor) -> torch.Tensor:
    """The softmax of 16-bit numbers by way of fp32; overwrites them.

    torch's own is slower for 62 columns than for 64: its loop takes as many as fill a register, and the rest one by
    one. Where that rest is large, two copies cost less.
    """
    wide = scratch("attention.scores", scores.shape, scores, torch.float32).copy_(scores)
    return scores.copy_(torch.ops.aten._softmax.out(wide, -1, False, out=wide))


def attend_merged_backward(
    gradient: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    probabilities: torch.Tensor,
    kept_mask: torch.Tensor | None,
    scale: float,
    dropout: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of query, key and value from that of the output and the inputs and outputs of `attend_merged`."""
    value_gradient = torch.bmm(_apply_dropout(probabilities, kept_mask, dropout).transpose(1, 2), gradient)
    probability_gradient = _apply_dropout(torch.bmm(gradient, value.transpose(1, 2)), kept_mask, dropout)
    score_gradient = torch.ops.aten._softmax_backward_data(probability_gradient, probabilities, -1, probabilities.dtype)
    query_gradient = _scaled_product(score_gradient, key, scale)
    return query_gradient, _scaled_product(score_gradient.transpose(1, 2), query, scale), value_gradient


def _apply_dropout(numbers: torch.Tensor, kept_mask: torch.Tensor | None, dropout: float) -> torch.Tensor:
    """Dropout: zeroes the values outside of the mask and scales the others by 1 / (1 - dropout) (Srivastava et al.
    2014)."""
    return numbers if kept_mask is None else (numbers * kept_mask).div_(1 - dropout)


def merge_heads(tensor: torch.Tensor, groups: int) -> torch.Tensor:
    """`[batch x groups, heads / groups x seq, size]`: heads that share keys are concatenated along the sequence, so
    that one product serves them all."""
    batch, heads, seq, size = tensor.shape
    return tensor.reshape(batch * groups, heads // groups * seq, size)


def masked_positions(seq: int, is_causal: bool, mask: torch.Tensor | None, device: torch.device) -> torch.Tensor | None:
    """`[seq, seq]` bool, or the shape of `mask`: True where a token must not be attended to; None if there is no
    mask."""
    if not is_causal:
        return None if mask is None else ~mask
    later = torch.ones(seq, seq, dtype=torch.bool, device=device).triu_(1)
    return later if mask is None else later | ~mask
