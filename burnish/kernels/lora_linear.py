"""A frozen linear layer, plain or quantized, with a low-rank adapter beside it, as one operation.

Composed of single operations, an adapter reads and writes the layer's output three times over, keeps two copies of the
layer's input for the backward pass, and casts its matrices anew for each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from burnish.kernels.precision import arithmetic_type


def lora_linear_reference(
    inputs: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    down: torch.Tensor,
    up: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """What `lora_linear` computes, in single operations (arXiv 2106.09685, eq. 3)."""
    update = functional.linear(functional.linear(inputs.to(down.dtype), down), up) * scale
    return functional.linear(inputs, weight, bias) + update.to(inputs.dtype)


def lora_linear(
    inputs: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    down: torch.Tensor,
    up: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """`inputs @ weight.T + bias + scale * inputs @ down.T @ up.T`; gradients for `inputs`, `down` and `up` alone.

    Args:
        inputs: `[..., in]`.
        weight: `[out, in]`, frozen; everything is computed in its type, or in autocast's.
        bias: `[out]`, frozen, or None.
        down: `[rank, in]`, any float type.
        up: `[out, rank]`, any float type.
        scale: of the update.

    Returns:
        `[..., out]`.
    """
    dtype = arithmetic_type(weight)
    with torch.autocast(weight.device.type, enabled=False):
        frozen = weight.to(dtype), None if bias is None else bias.to(dtype)
        return _LoraLinear.apply(inputs.to(dtype), *frozen, down, up, scale)


class _LoraLinear(torch.autograd.Function):
    """Keeps the input and `inputs @ down.T`, which is small."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        flat = inputs.flatten(0, -2)
        low = torch.mm(flat, down.to(flat.dtype).T)
        output = functional.linear(flat, weight, bias)
        output.addmm_(low, up.to(flat.dtype).T, alpha=scale)
        ctx.save_for_backward(inputs, weight, low, down, up)
        ctx.scale = scale
        return output.view(*inputs.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, weight, low, down, up = ctx.saved_tensors  # autograd casts gradients to the types of these
        flat, gradient = inputs.flatten(0, -2), gradient.flatten(0, -2)
        of_low = torch.mm(gradient, up.to(flat.dtype)).mul_(ctx.scale)
        of_inputs = None
        if ctx.needs_input_grad[0]:
            of_inputs = torch.mm(gradient, weight)
            of_inputs.addmm_(of_low, down.to(flat.dtype))
            of_inputs = of_inputs.view(inputs.shape)
        of_down = torch.mm(of_low.T, flat)
        of_up = torch.mm(gradient.T, low).mul_(ctx.scale)
        return of_inputs, None, None, of_down, of_up, None


def lora_beside_reference(
    inputs: torch.Tensor,
    product: Callable[[torch.Tensor], torch.Tensor],
    matrix: Callable[[], torch.Tensor],
    down: torch.Tensor,
    up: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """What `lora_beside` computes, in single operations; `product` has to be differentiable here."""
    update = functional.linear(functional.linear(inputs.to(down.dtype), down), up) * scale
    return product(inputs) + update.to(inputs.dtype)


def lora_beside(
    inputs: torch.Tensor,
    product: Callable[[torch.Tensor], torch.Tensor],
    matrix: Callable[[], torch.Tensor],
    down: torch.Tensor,
    up: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """`product(inputs) + scale * inputs @ down.T @ up.T`; gradients for `inputs`, `down` and `up` alone.

    For layers whose weight lies packed: it is unpacked once forward, inside `product`, and once backward.

    Args:
        inputs: `[..., in]`; everything is computed in its type.
        product: gives from `[tokens, in]` a new `[tokens, out]` of the same type; called without gradients.
        matrix: gives the weight `[out, in]` that `product` multiplies with, unpacked.
        down: `[rank, in]`, any float type.
        up: `[out, rank]`, any float type.
        scale: of the update.

    Returns:
        `[..., out]`.
    """
    with torch.autocast(inputs.device.type, enabled=False):
        return _LoraBeside.apply(inputs, down, up, product, matrix, scale)


class _LoraBeside(torch.autograd.Function):
    """Keeps the input, `inputs @ down.T`, and the packed weight, which is there anyway."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: torch.Tensor,
        down: torch.Tensor,
        up: torch.Tensor,
        product: Callable[[torch.Tensor], torch.Tensor],
        matrix: Callable[[], torch.Tensor],
        scale: float,
    ) -> torch.Tensor:
        flat = inputs.flatten(0, -2)
        low = torch.mm(flat, down.to(flat.dtype).T)
        output = product(flat)
        output.addmm_(low, up.to(flat.dtype).T, alpha=scale)
        ctx.save_for_backward(inputs, low, down, up)
        ctx.matrix, ctx.scale = matrix, scale
        return output.view(*inputs.shape[:-1], len(up))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, low, down, up = ctx.saved_tensors  # autograd casts gradients to the types of these
        flat, gradient = inputs.flatten(0, -2), gradient.flatten(0, -2)
        of_low = torch.mm(gradient, up.to(flat.dtype)).mul_(ctx.scale)
        of_down = torch.mm(of_low.T, flat)
        of_up = torch.mm(gradient.T, low).mul_(ctx.scale)
        of_inputs = None
        if ctx.needs_input_grad[0]:
            of_inputs = torch.mm(gradient, ctx.matrix().to(flat.dtype))
            of_inputs.addmm_(of_low, down.to(flat.dtype))
            of_inputs = of_inputs.view(inputs.shape)
        return of_inputs, of_down, of_up, None, None, None
