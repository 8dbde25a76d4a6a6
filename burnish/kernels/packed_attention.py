"""Attention over examples packed into rows, each attending only to itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from burnish.kernels.attention import (
    attend_merged,
    attend_merged_backward,
    attention_reference,
    masked_positions,
    merge_heads,
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
    """Causal attention within each example of packed rows; nothing is computed across example boundaries.

    Args:
        query: `[rows, heads, width, size]`.
        key: `[rows, key heads, width, size]`.
        value: same shape as `key`.
        scale: factor of the scores.
        segments: the examples in the rows.
        dropout: as in `short_attention`.

    Returns:
        `[rows, heads, width, size]`, laid out so that `transpose(1, 2)` is contiguous.
    """
    dtype = arithmetic_type(query)
    with torch.autocast(query.device.type, enabled=False):
        return _PackedAttention.apply(query.to(dtype), key.to(dtype), value.to(dtype), scale, segments, dropout)


def packed_attention_reference(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, segments: Segments
) -> torch.Tensor:
    """Reference for `packed_attention` with torch's own function and a mask over complete rows."""
    return attention_reference(query, key, value, scale, False, segments.dense(query.shape[0]))


class _PackedAttention(torch.autograd.Function):
    """Short examples are batched in groups of similar length. Each long one is computed separately, by fused attention
    unless there is dropout, which fused attention does not support on the CPU.

    Inputs are saved in the batched layout, so that the layer's own output need not be kept.
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
        batched = [segments.lay_out(one) for one in (query, key, value)]
        made, kept = torch.empty_like(batched[0]), []
        for group in segments.groups:
            parts = [group.of(one, shape[1]) for one, shape in zip(batched, ctx.shapes, strict=True)]
            sequences, heads, seq, size = parts[0].shape
            merged = [merge_heads(one, parts[1].shape[1]) for one in parts]
            masked = masked_positions(seq, True, None, query.device)
            output, *probabilities = attend_merged(
                *merged, scale=scale, batch=sequences, masked=masked, dropout=dropout
            )
            group.of(made, heads).copy_(output.view(sequences, heads, seq, size))
            kept += probabilities
        output = segments.take_back(made, query.shape)
        long = [_cut(one, segments) for one in (query, key, value)]
        for (begin, end), inputs in zip(segments.long, zip(*long, strict=True), strict=True):
            single, *probabilities = (
                _attend_one(*inputs, scale=scale, dropout=dropout) if dropout else _flash(*inputs, scale=scale)
            )
            output[begin:end] = single[0].transpose(0, 1)
            kept += probabilities if dropout else [single, *probabilities]
        ctx.save_for_backward(*batched, *(part for parts in long for part in parts), *kept)
        return _by_head(output, query.shape)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        segments, shapes, number = ctx.segments, ctx.shapes, len(ctx.segments.long)
        saved = (
            ctx.saved_tensors
        )  # read once: with activation checkpointing each saved tensor can be unpacked only once
        batched, rest = saved[:3], saved[3:]
        long, kept = rest[: 3 * number], rest[3 * number :]
        output_gradient = segments.lay_out(gradient, is_gradient=True)
        made = [torch.empty_like(one) for one in batched]
        for group, probabilities, kept_mask in zip(segments.groups, kept[::2], kept[1::2], strict=False):
            parts = [
                group.of(one, shape[1])
                for one, shape in zip((output_gradient, *batched), (shapes[0], *shapes), strict=True)
            ]
            merged = (merge_heads(one, parts[2].shape[1]) for one in parts)
            gradients = attend_merged_backward(
                *merged, probabilities=probabilities, kept_mask=kept_mask, scale=ctx.scale, dropout=ctx.dropout
            )
            for one, part, like in zip(made, gradients, parts[1:], strict=True):
                group.of(one, like.shape[1]).copy_(part.view(like.shape))
        outputs = [segments.take_back(one, shape) for one, shape in zip(made, shapes, strict=True)]
        tokens = gradient.transpose(1, 2).flatten(0, 1)
        for index, (begin, end) in enumerate(segments.long):
            first = 2 * (len(segments.groups) + index)
            inputs = (tokens[begin:end], *long[index::number], *kept[first : first + 2])
            single = _attend_one_backward(*inputs, scale=ctx.scale, dropout=ctx.dropout) if ctx.dropout else None
            parts = single or _flash_backward(*inputs, scale=ctx.scale)
            for one, part in zip(outputs, parts, strict=True):
                one[begin:end] = part
        return *(_by_head(one, shape) for one, shape in zip(outputs, shapes, strict=True)), None, None, None


def _by_head(tokens: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """`[rows x width, heads, size]` as `[rows, heads, width, size]`."""
    rows, heads, width, size = shape
    return tokens.view(rows, width, heads, size).transpose(1, 2)


def _cut(tensor: torch.Tensor, segments: Segments) -> list[torch.Tensor]:
    """Copies of the long examples in `[rows, heads, width, size]`: `[seq, heads, size]` each."""
    if not segments.long:
        return []
    tokens = tensor.transpose(1, 2).flatten(0, 1)
    return [tokens[begin:end].contiguous() for begin, end in segments.long]


def _attend_one(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, dropout: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """`attend_merged` for one sequence `[seq, heads, size]`; the output is `[1, heads, seq, size]`."""
    shape = query.transpose(0, 1)[None].shape
    merged = (merge_heads(one.transpose(0, 1)[None], key.shape[1]) for one in (query, key, value))
    masked = masked_positions(query.shape[0], True, None, query.device)
    output, probabilities, kept_mask = attend_merged(*merged, scale=scale, batch=1, masked=masked, dropout=dropout)
    return output.view(shape), probabilities, kept_mask


def _attend_one_backward(
    gradient: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    probabilities: torch.Tensor,
    kept_mask: torch.Tensor,
    scale: float,
    dropout: float,
) -> Sequence[torch.Tensor]:
    """Gradients of one sequence: `[seq, heads, size]` each."""
    inputs = (merge_heads(one.transpose(0, 1)[None], key.shape[1]) for one in (gradient, query, key, value))
    made = attend_merged_backward(
        *inputs, probabilities=probabilities, kept_mask=kept_mask, scale=scale, dropout=dropout
    )
    shapes = (one.transpose(0, 1).shape for one in (query, key, value))
    return [one.view(shape).transpose(0, 1) for one, shape in zip(made, shapes, strict=True)]


def _flash(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fused attention of one sequence `[seq, heads, size]`: `[1, heads, seq, size]`, and the log-sum-exp for
    backward."""
    query, key, value = (_expand_heads(one, query.shape[1]) for one in (query, key, value))
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
    inputs = (_expand_heads(one, heads) for one in (gradient, query, key, value))
    parts = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(
        *inputs, output, weights, 0.0, True, scale=scale
    )
    first, *others = (part[0].transpose(0, 1) for part in parts)
    return [first, *(part.unflatten(1, (shared, heads // shared)).sum(2) for part in others)]


def _expand_heads(tokens: torch.Tensor, heads: int) -> torch.Tensor:
    """`[1, heads, seq, size]`, each key head repeated for the query heads that it serves."""
    return tokens.repeat_interleave(heads // tokens.shape[1], dim=1).transpose(0, 1)[None]
