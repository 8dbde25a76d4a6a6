"""Queries, keys and values of an attention layer with rotary embeddings, as a single operation.

Composed of single operations, the embeddings read and write queries and keys about ten times in the forward and the
backward pass, each time with new memory. Here it is three times, in memory that is used again.
"""

from __future__ import annotations

from typing import Any

import torch

from burnish.kernels.adapted import (
    Adapted,
    adapter_gradients,
    input_gradient,
    joined,
    layer_reference,
    low_gradient,
    parted,
    project,
)
from burnish.kernels.precision import arithmetic_type
from burnish.kernels.scratch import scratch

Heads = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def rotated_heads_reference(
    inputs: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, query: Adapted, key: Adapted, value: Adapted
) -> Heads:
    """Reference for `rotated_heads` in single operations (arXiv 2104.09864, eq. 34, with the halves of a head as
    pairs)."""
    size = cosine.shape[-1]
    shape = (*inputs.shape[:-1], -1, size)
    heads = [layer_reference(inputs, layer).view(shape).transpose(1, 2) for layer in (query, key, value)]
    cosine, sine = cosine.unsqueeze(1), sine.unsqueeze(1)
    turned = []
    for one in heads[:2]:
        first, second = one.chunk(2, -1)
        turned.append(one * cosine + torch.cat((-second, first), -1) * sine)
    return turned[0], turned[1], heads[2]


def rotated_heads(
    inputs: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, query: Adapted, key: Adapted, value: Adapted
) -> Heads:
    """Queries and keys with rotary embeddings, and values; gradients for the inputs and the adapters.

    Args:
        inputs: `[rows, width, in]`.
        cosine: `[rows or 1, width, size]`; everything is computed in the dtype of the query's weight, or in that of
            autocast.
        sine: same shape.
        query: from `in` to `heads x size`.
        key: from `in` to `key heads x size`.
        value: as `key`.

    Returns:
        `[rows, heads, width, size]`, `[rows, key heads, width, size]` and the same for values; tokens of a row follow
        each other in memory.
    """
    dtype = arithmetic_type(query.weight)
    layers = [layer.cast(dtype) for layer in (query, key, value)]
    with torch.autocast(inputs.device.type, enabled=False):
        turns = (cosine.to(dtype), sine.to(dtype))
        return _RotatedHeads.apply(inputs.to(dtype), *turns, [layer.scale for layer in layers], *joined(layers))


class _RotatedHeads(torch.autograd.Function):
    """Saves the inputs if any layer has an adapter."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        cosine: torch.Tensor,
        sine: torch.Tensor,
        scales: list[float],
        *tensors: torch.Tensor | None,
    ) -> Heads:
        layers = parted(tensors, scales)
        rows, width = inputs.shape[:2]
        flat, ends = inputs.flatten(0, 1), _ends(layers)
        plain = scratch("heads.plain", (len(flat), ends[-1]), flat)
        lows = [project(layer, flat, plain[:, a:b]) for layer, a, b in zip(layers, ends, ends[1:], strict=False)]
        turned = torch.empty_like(plain)
        turns = _by_token(cosine, rows), _by_token(sine, rows)
        _turn(plain, *turns, turned, ends[2])
        turned[:, ends[2] :] = plain[:, ends[2] :]
        kept = flat if any(low is not None for low in lows) else None
        ctx.save_for_backward(kept, *turns, *lows, *tensors)
        ctx.scales, ctx.shape = scales, inputs.shape
        size = cosine.shape[-1]
        heads = [
            turned[:, a:b].view(rows, width, -1, size).transpose(1, 2) for a, b in zip(ends, ends[1:], strict=False)
        ]
        return heads[0], heads[1], heads[2]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:
        flat, cosine, sine, *others = ctx.saved_tensors
        lows, layers = others[:3], parted(others[3:], ctx.scales)
        ends, tokens = _ends(layers), len(cosine)
        given = scratch("heads.plain", (tokens, ends[-1]), gradients[0])
        turned = scratch("heads.turned", (tokens, ends[-1]), gradients[0])
        spans = list(zip(ends, ends[1:], strict=False))
        for (a, b), gradient, side in zip(spans, gradients, (given, given, turned), strict=True):
            by_token = gradient.transpose(1, 2)
            side[:, a:b].view(by_token.shape).copy_(by_token)
        _turn(given, cosine, sine, turned, ends[2], is_back=True)
        sides = [turned[:, a:b] for a, b in spans]
        low = [low_gradient(layer, side) for layer, side in zip(layers, sides, strict=True)]
        result = None
        if ctx.needs_input_grad[0]:
            result = turned.new_empty((tokens, layers[0].weight.shape[1]))
            for index, (layer, side) in enumerate(zip(layers, sides, strict=True)):
                input_gradient(layer, side, low[index], result, adds=index > 0)
            result = result.view(ctx.shape)
        trained = (
            (None, None, *adapter_gradients(layer, flat, side, one, back))
            for layer, side, one, back in zip(layers, sides, lows, low, strict=True)
        )
        return result, None, None, None, *(gradient for four in trained for gradient in four)


def _ends(layers: list[Adapted]) -> list[int]:
    """0, and where the columns of each layer end."""
    ends = [0]
    for layer in layers:
        ends.append(ends[-1] + len(layer.weight))
    return ends


def _by_token(turns: torch.Tensor, rows: int) -> torch.Tensor:
    """`[rows x width, 1, size]`."""
    return turns.expand(rows, -1, -1).flatten(0, 1).unsqueeze(1)


def _turn(
    plain: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, turned: torch.Tensor, end: int, is_back: bool = False
) -> None:
    """Writes the first `end` columns of `plain`, rotated, to `turned`; or with the transposed rotation."""
    size = cosine.shape[-1]
    half, sign = size // 2, -1 if is_back else 1
    before, after = (side[:, :end].view(len(side), -1, size) for side in (plain, turned))
    first, second = sine[..., :half], sine[..., half:]
    torch.mul(before, cosine, out=after)
    if is_back:
        first, second = second, first
    after[..., :half].addcmul_(before[..., half:], first, value=-sign)
    after[..., half:].addcmul_(before[..., :half], second, value=sign)
