"""Frozen linear layers with LoRA adapters, as parts of larger operations.

The functions here are the forward and the backward pass of one such layer, with outputs that the caller allocates: the
columns of one tensor may be the outputs of several layers, and intermediate results may reuse memory. They do not take
part in autograd; operations made of them do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn import functional


class Adapted(NamedTuple):
    """A frozen linear layer `weight` and its adapter, if it has one: `inputs @ weight.T + bias + scale * inputs @
    down.T @ up.T`."""

    weight: torch.Tensor
    """`[out, in]`."""
    bias: torch.Tensor | None = None
    """`[out]`."""
    down: torch.Tensor | None = None
    """`[rank, in]`, in any float dtype."""
    up: torch.Tensor | None = None
    """`[out, rank]`."""
    scale: float = 0.0

    def tensors(self) -> tuple[torch.Tensor | None, ...]:
        """Its tensors, as an autograd function takes them."""
        return self[:4]

    def cast(self, dtype: torch.dtype) -> Adapted:
        """With weight and bias in the dtype that is computed in; the adapter keeps its own, in which it is trained."""
        if self.weight.dtype == dtype:
            return self
        bias = None if self.bias is None else self.bias.to(dtype)
        return Adapted(self.weight.to(dtype), bias, self.down, self.up, self.scale)


def layer_reference(inputs: torch.Tensor, layer: Adapted) -> torch.Tensor:
    """Reference for the functions here in single operations (arXiv 2106.09685, eq. 3)."""
    output = functional.linear(inputs, layer.weight, layer.bias)
    if layer.down is None or layer.up is None:
        return output
    update = functional.linear(functional.linear(inputs.to(layer.down.dtype), layer.down), layer.up) * layer.scale
    return output + update.to(inputs.dtype)


def joined(layers: Sequence[Adapted]) -> list[torch.Tensor | None]:
    """The tensors of several layers, one after the other."""
    return [tensor for layer in layers for tensor in layer.tensors()]


def parted(tensors: Sequence[torch.Tensor | None], scales: Sequence[float]) -> list[Adapted]:
    """The inverse of `joined`."""
    return [Adapted(*tensors[4 * index : 4 * index + 4], scale) for index, scale in enumerate(scales)]  # type: ignore[arg-type]


def project(layer: Adapted, inputs: torch.Tensor, output: torch.Tensor) -> torch.Tensor | None:
    """The forward pass.

    Args:
        layer: in the dtype of the inputs.
        inputs: `[tokens, in]`.
        output: `[tokens, out]`, overwritten; its rows may be part of longer ones.

    Returns:
        `inputs @ down.T`, `[tokens, rank]`, which the backward pass needs; None without an adapter.
    """
    if layer.bias is None:
        torch.mm(inputs, layer.weight.T, out=output)
    else:
        torch.addmm(layer.bias, inputs, layer.weight.T, out=output)
    return add_update(layer, inputs, output)


def add_update(layer: Adapted, inputs: torch.Tensor, output: torch.Tensor) -> torch.Tensor | None:
    """Adds the adapter's part of the forward pass to the layer's own; arguments and result are those of `project`."""
    if layer.down is None or layer.up is None:
        return None
    low = torch.mm(inputs, layer.down.to(inputs.dtype).T)
    # added in place: one pass over the output, and no second tensor of its size
    output.addmm_(low, layer.up.to(inputs.dtype).T, alpha=layer.scale)
    return low


def low_gradient(layer: Adapted, gradient: torch.Tensor) -> torch.Tensor | None:
    """The gradient of `inputs @ down.T`, `[tokens, rank]`, from that of the output; None without an adapter."""
    if layer.up is None:
        return None
    return torch.mm(gradient, layer.up.to(gradient.dtype)).mul_(layer.scale)


def input_gradient(
    layer: Adapted, gradient: torch.Tensor, low: torch.Tensor | None, output: torch.Tensor, adds: bool = False
) -> None:
    """Computes the gradient of the inputs.

    Args:
        layer: the layer.
        gradient: `[tokens, out]`, of the output; its rows may be part of longer ones.
        low: from `low_gradient`.
        output: `[tokens, in]`.
        adds: whether to add it to what `output` holds, instead of overwriting that.
    """
    if adds:
        output.addmm_(gradient, layer.weight)
    else:
        torch.mm(gradient, layer.weight, out=output)
    if low is not None and layer.down is not None:
        output.addmm_(low, layer.down.to(gradient.dtype))


def adapter_gradients(
    layer: Adapted,
    inputs: torch.Tensor,
    gradient: torch.Tensor,
    low: torch.Tensor | None,
    low_gradient: torch.Tensor | None,
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Gradients of `down` and `up`; None without an adapter.

    Args:
        layer: the layer.
        inputs: `[tokens, in]`.
        gradient: `[tokens, out]`, of the output.
        low: from `project`.
        low_gradient: from the function of that name.
    """
    if low is None or low_gradient is None:
        return None, None
    # `low.T @ gradient`, transposed afterwards: a product with few rows is faster than one with few columns
    return torch.mm(low_gradient.T, inputs), torch.mm(low.T, gradient).T.mul(layer.scale)
