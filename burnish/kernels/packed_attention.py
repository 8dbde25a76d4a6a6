"""Attention over examples packed into rows, without a look across their borders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from burnish.kernels.attention import (
    attend_merged,
    attend_merged_backward,
    attention_reference,
    merge_heads,
    unseen_tokens,
)
from burnish.kernels.precision import arithmetic_type
from burnish.kernels.segments import Segments


def packed_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    segments: Segments,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Causal attention within each example of packed rows; nothing is computed across their borders.

    Args:
        query: `[rows, heads, width, size]`.
        key: `[rows, key heads, width, size]`.
        value: the same.
        scale: of the scores.
        segments: of the rows.
        dropout: as of `short_attention`.

    Returns:
        `[rows, heads, width, size]`, laid out so that `transpose(1, 2)` is contiguous.
    """
    dtype = arithmetic_type(query)
    with torch.autocast(query.device.type, enabled=False):
        return _PackedAttention.apply(query.to(dtype), key.to(dtype), value.to(dtype), scale, segments, dropout)


def packed_attention_reference(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, segments: Segments
) -> torch.Tensor:
    """What `packed_attention` computes, by torch's own function and a mask over whole rows."""
    return attention_reference(query, key, value, scale, False, segments.dense(query.shape[0]))


class _PackedAttention(torch.autograd.Function):
    """Short examples are laid side by side in groups of similar length; of long ones each is computed alone, by fused
    attention unless there is dropout, which that lacks on the CPU.

    Inputs are kept as they were laid out, so that the layer's own output need not be.
    """

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
        segments: Segments,
        dropout: float,
    ) -> torch.Tensor:
        ctx.scale, ctx.dropout, ctx.segments = scale, dropout, segments
        ctx.shapes = query.shape, key.shape, value.shape
        laid = [segments.lay_out(one) for one in (query, key, value)]
        made, kept = torch.empty_like(laid[0]), []
        for group in segments.groups:
            parts = [group.of(one, shape[1]) for one, shape in zip(laid, ctx.shapes, strict=True)]
            sequences, heads, seq, size = parts[0].shape
            merged = [merge_heads(one, parts[1].shape[1]) for one in parts]
            unseen = unseen_tokens(seq, True, None, query.device)
            output, *likely = attend_merged(*merged, scale=scale, batch=sequences, unseen=unseen, dropout=dropout)
            group.of(made, heads).copy_(output.view(sequences, heads, seq, size))
            kept += likely
        output = segments.take_back(made, query.shape)
        long = [_cut(one, segments) for one in (query, key, value)]
        for (begin, end), inputs in zip(segments.long, zip(*long, strict=True), strict=True):
            alone, *likely = (
                _attend_alone(*inputs, scale=scale, dropout=dropout) if dropout else _flash(*inputs, scale=scale)
            )
            output[begin:end] = alone[0].transpose(0, 1)
            kept += likely if dropout else [alone, *likely]
        ctx.save_for_backward(*laid, *(part for parts in long for part in parts), *kept)
        return _by_head(output, query.shape)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        segments, shapes, number = ctx.segments, ctx.shapes, len(ctx.segments.long)
        saved = ctx.saved_tensors  # once: activation checkpointing gives each of them but once
        laid, rest = saved[:3], saved[3:]
        long, kept = rest[: 3 * number], rest[3 * number :]
        slopes = segments.lay_out(gradient, is_gradient=True)
        made = [torch.empty_like(one) for one in laid]
        for group, likely, left in zip(segments.groups, kept[::2], kept[1::2], strict=False):
            parts = [group.of(one, shape[1]) for one, shape in zip((slopes, *laid), (shapes[0], *shapes), strict=True)]
            merged = (merge_heads(one, parts[2].shape[1]) for one in parts)
            gradients = attend_merged_backward(*merged, likely=likely, left=left, scale=ctx.scale, dropout=ctx.dropout)
            for one, part, like in zip(made, gradients, parts[1:], strict=True):
                group.of(one, like.shape[1]).copy_(part.view(like.shape))
        outputs = [segments.take_back(one, shape) for one, shape in zip(made, shapes, strict=True)]
        tokens = gradient.transpose(1, 2).flatten(0, 1)
        for index, (begin, end) in enumerate(segments.long):
            first = 2 * (len(segments.groups) + index)
            inputs = (tokens[begin:end], *long[index::number], *kept[first : first + 2])
            alone = _attend_alone_backward(*inputs, scale=ctx.scale, dropout=ctx.dropout) if ctx.dropout else None
            parts = alone or _flash_backward(*inputs, scale=ctx.scale)
            for one, part in zip(outputs, parts, strict=True):
                one[begin:end] = part
        return *(_by_head(one, shape) for one, shape in zip(outputs, shapes, strict=True)), None, None, None


def _by_head(tokens: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """`[rows x width, heads, size]` as `[rows, heads, width, size]`."""
    rows, heads, width, size = shape
    return tokens.view(rows, width, heads, size).transpose(1, 2)


def _cut(tensor: torch.Tensor, segments: Segments) -> list[torch.Tensor]:
    """Copies of the long examples of `[rows, heads, width, size]`: `[seq, heads, size]` each."""
    if not segments.long:
        return []
    tokens = tensor.transpose(1, 2).flatten(0, 1)
    return [tokens[begin:end].contiguous() for begin, end in segments.long]


def _attend_alone(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, dropout: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """As `attend_merged`, of one sequence of `[seq, heads, size]`; the output is `[1, heads, seq, size]`."""
    shape = query.transpose(0, 1)[None].shape
    merged = (merge_heads(one.transpose(0, 1)[None], key.shape[1]) for one in (query, key, value))
    unseen = unseen_tokens(query.shape[0], True, None, query.device)
    output, likely, left = attend_merged(*merged, scale=scale, batch=1, unseen=unseen, dropout=dropout)
    return output.view(shape), likely, left


def _attend_alone_backward(
    gradient: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    likely: torch.Tensor,
    left: torch.Tensor,
    scale: float,
    dropout: float,
) -> Sequence[torch.Tensor]:
    """Gradients of one sequence: `[seq, heads, size]` each."""
    inputs = (merge_heads(one.transpose(0, 1)[None], key.shape[1]) for one in (gradient, query, key, value))
    made = attend_merged_backward(*inputs, likely=likely, left=left, scale=scale, dropout=dropout)
    shapes = (one.transpose(0, 1).shape for one in (query, key, value))
    return [one.view(shape).transpose(0, 1) for one, shape in zip(made, shapes, strict=True)]


def _flash(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fused attention of one sequence of `[seq, heads, size]`: `[1, heads, seq, size]`, and what backward needs."""
    query, key, value = (_alone(one, query.shape[1]) for one in (query, key, value))
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, 0.0, True, scale=scale)


def _flash_backward(
    gradient: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    output: torch.Tensor,
    weights: torch.Tensor,
    scale: float,
) -> Sequence[torch.Tensor]:
    """Gradients of one sequence: `[seq, heads, size]` each."""
    heads, shared = query.shape[1], key.shape[1]
    inputs = (_alone(one, heads) for one in (gradient, query, key, value))
    parts = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        *inputs, output, weights, 0.0, True, scale=scale
    )
    first, *others = (part[0].transpose(0, 1) for part in parts)
    return [first, *(part.unflatten(1, (shared, heads // shared)).sum(2) for part in others)]


def _alone(tokens: torch.Tensor, heads: int) -> torch.Tensor:
    """`[1, heads, seq, size]`, each key head repeated for the query heads that it serves."""
    return tokens.repeat_interleave(heads // tokens.shape[1], dim=1).transpose(0, 1)[None]
