"""Attention over many short sequences at once.

On the CPU, fused attention is made for long sequences and for fp32. Of some dozens of tokens, plain batched matrix
products are up to ten times as fast in bf16 and up to twice as fast in fp32 (`bench/attention.py`), and their
`[seq, seq]` scores are small.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from burnish.kernels.precision import arithmetic_type

NAME = "burnish"
"""What transformers knows Burnish's attention by."""
SHORT, SHORT_HALF = 64, 512
"""Tokens up to which a sequence is short, in fp32 and in the formats of 16 bits: about where the two ways cross on a
server's CPU with AVX-512, by `bench/attention.py`."""


def attention_reference(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    is_causal: bool = True,
    mask: torch.Tensor | None = None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """What `short_attention` computes, by torch's own function; with dropout, by another draw."""
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
    """Attention of short sequences, as plain matrix products. Scores are rounded to the type of the arithmetic, as by
    transformers' eager attention; the softmax works on them in fp32.

    Args:
        query: `[batch, heads, seq, size]`.
        key: `[batch, key heads, seq, size]`; each key head serves as many query heads.
        value: the same.
        scale: of the scores.
        is_causal: whether a token sees only itself and earlier ones.
        mask: bool, broadcast to `[batch, heads, seq, seq]`, True where a token is seen; None for no other limit.
        dropout: share of the probabilities that is set to zero, the others growing by as much.

    Returns:
        `[batch, heads, seq, size]`.
    """
    dtype = arithmetic_type(query)
    with torch.autocast(query.device.type, enabled=False):
        return _ShortAttention.apply(query.to(dtype), key.to(dtype), value.to(dtype), scale, is_causal, mask, dropout)


class _ShortAttention(torch.autograd.Function):
    """Keeps the probabilities: `[batch, heads, seq, seq]` in the type of the inputs; and which of them were left."""

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
        unseen = unseen_tokens(query.shape[2], is_causal, mask, query.device)
        merged = (merge_heads(one, groups) for one in (query, key, value))
        output, *kept = attend_merged(*merged, scale=scale, batch=query.shape[0], unseen=unseen, dropout=dropout)
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
    unseen: torch.Tensor | None,
    dropout: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Attention of merged heads.

    Args:
        query: `[batch x groups, heads / groups x seq, size]`, from `merge_heads`.
        key: `[batch x groups, seq, size]`.
        value: the same.
        scale: of the scores.
        batch: number of sequences.
        unseen: bool, broadcast to `[batch, heads, seq, seq]`, True where a token is not seen; None where all are.
        dropout: as of `short_attention`.

    Returns:
        The output like `query`; the probabilities `[batch x groups, heads / groups x seq, seq]`; and which of them were
        left by dropout, bool (None without dropout).
    """
    scores = torch.bmm(query, key.transpose(1, 2)).mul_(scale)
    if unseen is not None:  # not minus infinity: where nothing at all is seen, that would give NaN
        seq = key.shape[1]
        scores.view(batch, -1, seq, seq).masked_fill_(unseen, torch.finfo(scores.dtype).min)
    likely = torch.softmax(scores, -1)  # in fp32 inside, whatever the type of the scores
    left = torch.empty_like(likely, dtype=torch.bool).bernoulli_(1 - dropout) if dropout else None
    return torch.bmm(_thinned(likely, left, dropout), value), likely, left


def attend_merged_backward(
    gradient: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    likely: torch.Tensor,
    left: torch.Tensor | None,
    scale: float,
    dropout: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of query, key and value, from that of the output and what `attend_merged` was given and gave."""
    of_value = torch.bmm(_thinned(likely, left, dropout).transpose(1, 2), gradient)
    of_likely = _thinned(torch.bmm(gradient, value.transpose(1, 2)), left, dropout)
    slopes = torch.ops.aten._softmax_backward_data(of_likely, likely, -1, likely.dtype).mul_(scale)
    return torch.bmm(slopes, key), torch.bmm(slopes.transpose(1, 2), query), of_value


def _thinned(numbers: torch.Tensor, left: torch.Tensor | None, dropout: float) -> torch.Tensor:
    """What dropout leaves, grown by as much as it takes away on average (Srivastava et al. 2014)."""
    return numbers if left is None else (numbers * left).div_(1 - dropout)


def merge_heads(tensor: torch.Tensor, groups: int) -> torch.Tensor:
    """`[batch x groups, heads / groups x seq, size]`: heads that share keys stand one behind the other."""
    batch, heads, seq, size = tensor.shape
    return tensor.reshape(batch * groups, heads // groups * seq, size)


def unseen_tokens(seq: int, is_causal: bool, mask: torch.Tensor | None, device: torch.device) -> torch.Tensor | None:
    """True where a token is not seen."""
    if not is_causal:
        return None if mask is None else ~mask
    later = torch.ones(seq, seq, dtype=torch.bool, device=device).triu_(1)
    return later if mask is None else later | ~mask
