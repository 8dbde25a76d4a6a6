"""A frozen linear layer, plain or quantized, with its LoRA adapter as a single operation.

Composed of single operations, an adapter reads and writes the layer's output three times, keeps two copies of the
layer's input for the backward pass, and casts its matrices again for each of them.
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
    """Reference for `lora_linear` in single operations (arXiv 2106.09685, eq. 3)."""
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
    """`inputs @ weight.T + bias + scale * inputs @ down.T @ up.T`; gradients for `inputs`, `down` and `up` only.

    Args:
        inputs: `[..., in]`.
        weight: `[out, in]`, frozen; everything is computed in its dtype, or in that of autocast.
        bias: `[out]`, frozen, or None.
        down: `[rank, in]`, any float dtype.
        up: `[out, rank]`, any float dtype.
        scale: factor of the update.

    Returns:
        `[..., out]`.
    """
    dtype = arithmetic_type(weight)
    with torch.autocast(weight.device.type, enabled=False):
        frozen = weight.to(dtype), None if bias is None else bias.to(dtype)
        return _LoraLinear.apply(inputs.to(dtype), *frozen, down, up, scale)


class _LoraLinear(torch.autograd.Function):
    """Saves the input and `inputs @ down.T`, which is small."""

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
        # added in place: one pass over the output, and no second tensor of its size
        output.addmm_(low, up.to(flat.dtype).T, alpha=scale)
        ctx.save_for_backward(inputs, weight, low, down, up)
        ctx.scale = scale
        return output.view(*inputs.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, weight, low, down, up = ctx.saved_tensors  # autograd casts the gradients to the dtypes of these
        flat, gradient = inputs.flatten(0, -2), gradient.flatten(0, -2)
        low_gradient = torch.mm(gradient, up.to(flat.dtype)).mul_(ctx.scale)
        input_gradient = None
        if ctx.needs_input_grad[0]:
            input_gradient = torch.mm(gradient, weight)
            input_gradient.addmm_(low_gradient, down.to(flat.dtype))
            input_gradient = input_gradient.view(inputs.shape)
        down_gradient = torch.mm(low_gradient.T, flat)
        up_gradient = torch.mm(gradient.T, low).mul_(ctx.scale)
        return input_gradient, None, None, down_gradient, up_gradient, None


def lora_beside_reference(
    inputs: torch.Tensor,
    product: Callable[[torch.Tensor], torch.Tensor],
    matrix: Callable[[], torch.Tensor],
    down: torch.Tensor,
    up: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """Reference for `lora_packed_linear` in single operations; here `product` has to be differentiable."""
    update = functional.linear(functional.linear(inputs.to(down.dtype), down), up) * scale
    return product(inputs) + update.to(inputs.dtype)


def lora_packed_linear(
    inputs: torch.Tensor,
    product: Callable[[torch.Tensor], torch.Tensor],
    matrix: Callable[[], torch.Tensor],
    down: torch.Tensor,
    up: torch.Tensor,
    scale: float,
) -> torch.Tensor:
    """`product(inputs) + scale * inputs @ down.T @ up.T`; gradients for `inputs`, `down` and `up` only.

    For layers with packed (quantized) weights: they are unpacked once in the forward pass, inside `product`, and once
    in the backward pass.

    Args:
        inputs: `[..., in]`; everything is computed in its dtype.
        product: maps `[tokens, in]` to a new `[tokens, out]` of the same dtype; called without gradients.
        matrix: returns the unpacked weight `[out, in]` that `product` multiplies with.
        down: `[rank, in]`, any float dtype.
        up: `[out, rank]`, any float dtype.
        scale: factor of the update.

    Returns:
        `[..., out]`.
    """
    with torch.autocast(inputs.device.type, enabled=False):
        return _LoraBeside.apply(inputs, down, up, product, matrix, scale)


class _LoraBeside(torch.autograd.Function):
    """Saves the input and `inputs @ down.T`; the packed weight exists anyway."""

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
        inputs, low, down, up = ctx.saved_tensors  # autograd casts the gradients to the dtypes of these
        flat, gradient = inputs.flatten(0, -2), gradient.flatten(0, -2)
        low_gradient = torch.mm(gradient, up.to(flat.dtype)).mul_(ctx.scale)
        down_gradient = torch.mm(low_gradient.T, flat)
        up_gradient = torch.mm(gradient.T, low).mul_(ctx.scale)
        input_gradient = None
        if ctx.needs_input_grad[0]:
            input_gradient = torch.mm(gradient, ctx.matrix().to(flat.dtype))
            input_gradient.addmm_(low_gradient, down.to(flat.dtype))
            input_gradient = input_gradient.view(inputs.shape)
        return input_gradient, down_gradient, up_gradient, None, None, None
