"""A frozen linear layer, plain or quantized, with its LoRA adapter as a single operation.

Composed of single operations, an adapter reads and writes the layer's output three times, keeps two copies of the
layer's input for the backward pass, and casts its matrices again for each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from burnish.kernels.adapted import (
    Adapted,
    adapter_gradients,
    add_update,
    input_gradient,
    low_gradient,
    parted,
    project,
)
from burnish.kernels.precision import arithmetic_type


def lora_linear(inputs: torch.Tensor, layer: Adapted) -> torch.Tensor:
    """A frozen linear layer and its adapter; gradients for the inputs and the adapter only.

    Args:
        inputs: `[..., in]`.
        layer: from `in` to `out`, with an adapter; everything is computed in the dtype of its weight, or in that of
            autocast.

    Returns:
        `[..., out]`.
    """
    dtype = arithmetic_type(layer.weight)
    with torch.autocast(inputs.device.type, enabled=False):
        return _LoraLinear.apply(inputs.to(dtype), layer.scale, *layer.cast(dtype).tensors())


class _LoraLinear(torch.autograd.Function):
    """Saves the input and `inputs @ down.T`, which is small."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, scale: float, *tensors: torch.Tensor | None) -> torch.Tensor:
        (layer,) = parted(tensors, [scale])
        flat = inputs.flatten(0, -2)
        output = flat.new_empty((*inputs.shape[:-1], len(layer.weight)))
        low = project(layer, flat, output.view(len(flat), len(layer.weight)))
        ctx.save_for_backward(inputs, low, *tensors)
        ctx.scale = scale
        return output  # no view, since models may add to it in place

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, low, *tensors = ctx.saved_tensors
        (layer,) = parted(tensors, [ctx.scale])
        result, of_down, of_up = _gradients(layer, inputs, gradient, low, ctx.needs_input_grad[0])
        return result, None, None, None, of_down, of_up


def _gradients(
    layer: Adapted, inputs: torch.Tensor, gradient: torch.Tensor, low: torch.Tensor, needs_first: bool
) -> tuple[torch.Tensor | None, ...]:
    """Gradients of inputs, `down` and `up` from that of the output; autograd casts them to the dtypes of these."""
    flat, gradient = inputs.flatten(0, -2), gradient.flatten(0, -2)
    back = low_gradient(layer, gradient)
    result = None
    if needs_first:
        result = torch.empty_like(flat)
        input_gradient(layer, gradient, back, result)
        result = result.view(inputs.shape)
    return result, *adapter_gradients(layer, flat, gradient, low, back)


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


_UNUSED = torch.empty(0)
"""In place of an unpacked weight where only the adapter computes."""


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
        output = product(flat)
        low = add_update(Adapted(_UNUSED, None, down, up, scale), flat, output)
        ctx.save_for_backward(inputs, low, down, up)
        ctx.matrix, ctx.scale = matrix, scale
        # no view, since models may add to it in place
        return torch.ops.aten._unsafe_view.default(output, (*inputs.shape[:-1], len(up)))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, low, down, up = ctx.saved_tensors
        weight = ctx.matrix().to(inputs.dtype) if ctx.needs_input_grad[0] else _UNUSED
        layer = Adapted(weight, None, down, up, ctx.scale)
        return *_gradients(layer, inputs, gradient, low, ctx.needs_input_grad[0]), None, None, None
