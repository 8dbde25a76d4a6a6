"""RMS normalization that saves only its input and one number per token, with a hand-written backward pass.

Composed of single operations, it would save two fp32 tensors as large as its input for the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch

from burnish.kernels.scratch import scratch


def rms_norm_reference(inputs: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Reference for `rms_norm` in single operations (arXiv 1910.07467, eq. 4; rounded where Llama's code rounds)."""
    wide = inputs.to(torch.float32)
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
    return weight * (wide * scale).to(inputs.dtype)


def rms_norm(inputs: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """`weight * inputs / rms(inputs)`, with `rms(x) = sqrt(mean(x ** 2) + epsilon)`.

    Args:
        inputs: `[..., width]`.
        weight: `[width]`.
        epsilon: keeps the root above zero.

    Returns:
        `[..., width]`, in the wider of both dtypes; bit-identical to the reference.
    """
    return _RmsNorm.apply(inputs, weight, epsilon)


class _RmsNorm(torch.autograd.Function):
    """With inputs x, scale s, weight w and output gradient g, the gradient of x is s w g - x s^3 mean(x w g), and that
    of w is the sum of g x s over all tokens."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        wide = _wide(inputs, "norm.wide")
        squares = torch.mul(wide, wide, out=scratch("norm.squares", wide.shape, wide))
        scale = torch.rsqrt(squares.mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(inputs, weight, scale)
        return weight * scratch("norm.narrow", inputs.shape, inputs).copy_(wide.mul_(scale))

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        inputs, weight, scale = ctx.saved_tensors
        input_gradient = weight_gradient = None
        if ctx.needs_input_grad[0]:
            weighted = torch.empty_like(inputs).copy_(gradient).mul_(weight)
            along = _wide(weighted, "norm.wide").mul_(inputs).sum(-1, keepdim=True)
            back = along * scale.pow(3) / -inputs.shape[-1]
            input_gradient = weighted.mul_(scale.to(inputs.dtype)).addcmul_(inputs, back.to(inputs.dtype))
        if ctx.needs_input_grad[1]:
            each = _wide(gradient, "norm.wide").mul_(inputs).mul_(scale)
            weight_gradient = each.flatten(0, -2).sum(0).to(weight.dtype)
        return input_gradient, weight_gradient, None


def _wide(tensor: torch.Tensor, name: str) -> torch.Tensor:
    """A copy in fp32."""
    return scratch(name, tensor.shape, tensor, torch.float32).copy_(tensor)
