"""The gated feed-forward layer of Llama and its kin, with frozen weights and adapters, as a single operation.

Composed of single operations, it keeps four tensors as wide as its hidden layer for the backward pass, and each of the
intermediate results gets new memory. This one keeps two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

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

_ATEN = torch.ops.aten
ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda inputs: functional.gelu(inputs, approximate="tanh"),
}
"""Activation functions of the gate, by name."""
_FORWARD: dict[str, Callable[..., Any]] = {
    "silu": _ATEN.silu.out,
    "gelu": _ATEN.gelu.out,
    "gelu_tanh": lambda inputs, out: _ATEN.gelu.out(inputs, approximate="tanh", out=out),
}
_BACKWARD: dict[str, Callable[..., Any]] = {
    "silu": _ATEN.silu_backward.grad_input,
    "gelu": _ATEN.gelu_backward.grad_input,
    "gelu_tanh": lambda gradient, inputs, grad_input: _ATEN.gelu_backward.grad_input(
        gradient, inputs, approximate="tanh", grad_input=grad_input
    ),
}


def gated_mlp_reference(
    inputs: torch.Tensor, gate: Adapted, up: Adapted, down: Adapted, activation: str
) -> torch.Tensor:
    """Reference for `gated_mlp` in single operations (arXiv 2002.05202, eq. 6)."""
    gated = ACTIVATIONS[activation](layer_reference(inputs, gate)) * layer_reference(inputs, up)
    return layer_reference(gated, down)


def gated_mlp(inputs: torch.Tensor, gate: Adapted, up: Adapted, down: Adapted, activation: str) -> torch.Tensor:
    """`down(activation(gate(inputs)) * up(inputs))`; gradients for the inputs and the adapters.

    Args:
        inputs: `[..., width]`.
        gate: from `width` to `hidden`; everything is computed in the dtype of its weight, or in that of autocast.
        up: from `width` to `hidden`.
        down: from `hidden` to `width`.
        activation: one of `ACTIVATIONS`.

    Returns:
        `[..., width]`.
    """
    dtype = arithmetic_type(gate.weight)
    layers = [layer.cast(dtype) for layer in (gate, up, down)]
    with torch.autocast(inputs.device.type, enabled=False):
        return _GatedMLP.apply(inputs.to(dtype), activation, [layer.scale for layer in layers], *joined(layers))


class _GatedMLP(torch.autograd.Function):
    """Saves the outputs of `gate` and `up` in one `[2, tokens, hidden]`, and the inputs if either has an adapter."""

    @staticmethod
    def forward(
        ctx: Any, inputs: torch.Tensor, activation: str, scales: list[float], *tensors: torch.Tensor | None
    ) -> torch.Tensor:
        gate, up, down = parted(tensors, scales)
        flat = inputs.flatten(0, -2)
        tokens, hidden = len(flat), len(gate.weight)
        both = flat.new_empty((2, tokens, hidden))
        lows = [project(gate, flat, both[0]), project(up, flat, both[1])]
        gated = _gated(both, activation)
        output = flat.new_empty((*inputs.shape[:-1], len(down.weight)))
        lows.append(project(down, gated, output.view(tokens, len(down.weight))))
        kept = flat if lows[0] is not None or lows[1] is not None else None
        ctx.save_for_backward(kept, both, *lows, *tensors)
        ctx.activation, ctx.scales, ctx.shape = activation, scales, inputs.shape
        return output  # no view, since models may add to it in place

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        flat, both, *others = ctx.saved_tensors
        lows, (gate, up, down) = others[:3], parted(others[3:], ctx.scales)
        gradient = gradient.flatten(0, -2)
        low = low_gradient(down, gradient)
        down_gradients: tuple[Any, Any] = (None, None)
        if low is not None:
            gated = _gated(both, ctx.activation)
            down_gradients = adapter_gradients(down, gated, gradient, lows[2], low)
        inner = scratch("mlp.gated", both.shape[1:], both)
        input_gradient(down, gradient, low, inner)
        sides = _gate_gradients(inner, both, ctx.activation)
        gate_low, up_low = low_gradient(gate, sides[0]), low_gradient(up, sides[1])
        result = None
        if ctx.needs_input_grad[0]:
            result = gradient.new_empty((len(gradient), gate.weight.shape[1]))
            input_gradient(gate, sides[0], gate_low, result)
            input_gradient(up, sides[1], up_low, result, adds=True)
            result = result.view(ctx.shape)
        gate_gradients = adapter_gradients(gate, flat, sides[0], lows[0], gate_low)
        up_gradients = adapter_gradients(up, flat, sides[1], lows[1], up_low)
        return (
            result, None, None, None, None, *gate_gradients, None, None, *up_gradients, None, None, *down_gradients,
        )  # fmt: skip


def _gated(both: torch.Tensor, activation: str) -> torch.Tensor:
    """`activation(gate) * up`, `[tokens, hidden]`, in reused memory."""
    gated = scratch("mlp.gated", both.shape[1:], both)
    _FORWARD[activation](both[0], out=gated)
    return gated.mul_(both[1])


def _gate_gradients(inner: torch.Tensor, both: torch.Tensor, activation: str) -> torch.Tensor:
    """Gradients of `both` from that of `activation(gate) * up`, which is overwritten."""
    sides = scratch("mlp.sides", both.shape, both)
    _FORWARD[activation](both[0], out=sides[1])
    sides[1].mul_(inner)
    _BACKWARD[activation](inner.mul_(both[1]), both[0], grad_input=sides[0])
    return sides
