"""Attention over many short sequences at once, and over examples packed into rows without a look across their borders.

On the CPU, fused attention is made for long sequences and for fp32. Of some dozens of tokens, plain batched matrix
products are up to ten times as fast in bf16 and up to twice as fast in fp32 (`bench/attention.py`), and their
`[seq, seq]` scores are small.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from burnish.kernels.precision import arithmetic_type
from burnish.kernels.segments import Segments

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
) -> torch.Tensor:
    """What `short_attention` computes, by torch's own function."""
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=is_causal, scale=scale, enable_gqa=query.shape[1] != key.shape[1]
    )


def short_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    is_causal: bool = True,
    mask: torch.Tensor | None = None,
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

    Returns:
        `[batch, heads, seq, size]`.
    """
    dtype = arithmetic_type(query)
    with torch.autocast(query.device.type, enabled=False):
        return _ShortAttention.apply(query.to(dtype), key.to(dtype), value.to(dtype), scale, is_causal, mask)


class _ShortAttention(torch.autograd.Function):
    """Keeps the probabilities: `[batch, heads, seq, seq]` in the type of the inputs."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
        is_causal: bool,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        groups = key.shape[1]
        unseen = _unseen(query.shape[2], is_causal, mask, query.device)
        merged = (_merge(one, groups) for one in (query, key, value))
        output, likely = _attend(*merged, scale=scale, batch=query.shape[0], unseen=unseen)
        ctx.save_for_backward(query, key, value, likely)
        ctx.scale = scale
        return output.view(query.shape)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        query, key, value, likely = ctx.saved_tensors
        inputs = (_merge(one, key.shape[1]) for one in (gradient, query, key, value))
        made = _attend_backward(*inputs, likely=likely, scale=ctx.scale)
        shapes = (query.shape, key.shape, value.shape)
        return *(one.view(shape) for one, shape in zip(made, shapes, strict=True)), None, None, None


def packed_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, segments: Segments
) -> torch.Tensor:
    """Causal attention within each example of packed rows; nothing is computed across their borders.

    Args:
        query: `[rows, heads, width, size]`.
        key: `[rows, key heads, width, size]`.
        value: the same.
        scale: of the scores.
        segments: of the rows.

    Returns:
        `[rows, heads, width, size]`, laid out so that `transpose(1, 2)` is contiguous.
    """
    dtype = arithmetic_type(query)
    with torch.autocast(query.device.type, enabled=False):
        return _PackedAttention.apply(query.to(dtype), key.to(dtype), value.to(dtype), scale, segments)


def packed_attention_reference(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, segments: Segments
) -> torch.Tensor:
    """What `packed_attention` computes, by torch's own function and a mask over whole rows."""
    return attention_reference(query, key, value, scale, False, segments.dense(query.shape[0]))


class _PackedAttention(torch.autograd.Function):
    """Short examples are laid side by side in groups of similar length; of long ones each is computed alone.

    Inputs are kept as they were laid out, so that the layer's own output need not be.
    """

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, segments: Segments
    ) -> torch.Tensor:
        ctx.scale, ctx.segments, ctx.shapes = scale, segments, (query.shape, key.shape, value.shape)
        laid = [segments.lay_out(one) for one in (query, key, value)]
        made, kept = torch.empty_like(laid[0]), []
        for group in segments.groups:
            parts = [group.of(one, shape[1]) for one, shape in zip(laid, ctx.shapes, strict=True)]
            sequences, heads, seq, size = parts[0].shape
            merged = [_merge(one, parts[1].shape[1]) for one in parts]
            output, likely = _attend(
                *merged, scale=scale, batch=sequences, unseen=_unseen(seq, True, None, query.device)
            )
            group.of(made, heads).copy_(output.view(sequences, heads, seq, size))
            kept.append(likely)
        output = segments.take_back(made, query.shape)
        long = [_cut(one, segments) for one in (query, key, value)]
        for (begin, end), inputs in zip(segments.long, zip(*long, strict=True), strict=True):
            alone, weights = _flash(*inputs, scale=scale)
            output[begin:end] = alone[0].transpose(0, 1)
            kept += [alone, weights]
        ctx.save_for_backward(*laid, *(part for parts in long for part in parts), *kept)
        return _by_head(output, query.shape)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        segments, shapes, number = ctx.segments, ctx.shapes, len(ctx.segments.long)
        saved = ctx.saved_tensors  # once: activation checkpointing gives each of them but once
        laid, rest = saved[:3], saved[3:]
        long, likely, flashed = rest[: 3 * number], rest[3 * number :], rest[3 * number + len(segments.groups) :]
        slopes = segments.lay_out(gradient, is_gradient=True)
        made = [torch.empty_like(one) for one in laid]
        for group, chances in zip(segments.groups, likely, strict=False):
            parts = [group.of(one, shape[1]) for one, shape in zip((slopes, *laid), (shapes[0], *shapes), strict=True)]
            merged = (_merge(one, parts[2].shape[1]) for one in parts)
            gradients = _attend_backward(*merged, likely=chances, scale=ctx.scale)
            for one, part, like in zip(made, gradients, parts[1:], strict=True):
                group.of(one, like.shape[1]).copy_(part.view(like.shape))
        outputs = [segments.take_back(one, shape) for one, shape in zip(made, shapes, strict=True)]
        tokens = gradient.transpose(1, 2).flatten(0, 1)
        for index, (begin, end) in enumerate(segments.long):
            output, weights = flashed[2 * index : 2 * index + 2]
            inputs = (tokens[begin:end], *long[index::number])
            parts = _flash_backward(*inputs, output=output, weights=weights, scale=ctx.scale)
            for one, part in zip(outputs, parts, strict=True):
                one[begin:end] = part
        return *(_by_head(one, shape) for one, shape in zip(outputs, shapes, strict=True)), None, None


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scale: float,
    batch: int,
    unseen: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Output and probabilities of merged heads: `[batch x groups, heads x seq, size]` and `[.., .., seq]`."""
    scores = torch.bmm(query, key.transpose(1, 2)).mul_(scale)
    if unseen is not None:  # not minus infinity: where nothing at all is seen, that would give NaN
        seq = key.shape[1]
        scores.view(batch, -1, seq, seq).masked_fill_(unseen, torch.finfo(scores.dtype).min)
    likely = torch.softmax(scores, -1)  # in fp32 inside, whatever the type of the scores
    return torch.bmm(likely, value), likely


def _attend_backward(
    gradient: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    likely: torch.Tensor,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    of_value = torch.bmm(likely.transpose(1, 2), gradient)
    of_likely = torch.bmm(gradient, value.transpose(1, 2))
    slopes = torch.ops.aten._softmax_backward_data(of_likely, likely, -1, likely.dtype).mul_(scale)
    return torch.bmm(slopes, key), torch.bmm(slopes.transpose(1, 2), query), of_value


def _merge(tensor: torch.Tensor, groups: int) -> torch.Tensor:
    """`[batch x groups, heads / groups x seq, size]`: heads that share keys stand one behind the other."""
    batch, heads, seq, size = tensor.shape
    return tensor.reshape(batch * groups, heads // groups * seq, size)


def _unseen(seq: int, is_causal: bool, mask: torch.Tensor | None, device: torch.device) -> torch.Tensor | None:
    """True where a token is not seen."""
    if not is_causal:
        return None if mask is None else ~mask
    later = torch.ones(seq, seq, dtype=torch.bool, device=device).triu_(1)
    return later if mask is None else later | ~mask


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
