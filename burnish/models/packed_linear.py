"""Linear layers whose weights oneDNN has laid out for its own products, for networks that only answer.

For few rows, a product reads each weight once and computes little: laid out in the order in which it is read, it takes
half the time (`bench/answering.py`). The plain weights are let go, so memory stays as it was, but for an embedding that
an output layer shares.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from burnish.kernels.precision import arithmetic_type
from burnish.system.inventory import free_memory
from burnish.system.machine import this_machine

_LEAST = 64
"""Inputs and outputs of a layer from which this pays; those of adapters have fewer."""
_MOST_OF_FREE = 0.5
"""Of the free memory, that weights may take to be packed: until the network was tried, both forms are held."""
_ROWS = 3
"""Of the trial."""
_EXTRA = 2.0
"""How much further from fp32 than the plain product a packed one may be, by the largest error."""
_LEAST_ERROR = 1e-5
"""As a share of the largest result: below it, rounding."""


class PackedLinear(nn.Linear):
    """A linear layer with its weights in oneDNN's layout. `weight` keeps its shape, but every value is NaN, so that
    whatever else reads it gets no answer rather than a wrong one."""

    packed: torch.Tensor

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  torch's name
        """`[..., inputs]` to `[..., outputs]`."""
        given = input.to(arithmetic_type(input))
        if given.dtype != self.packed.dtype or torch.is_grad_enabled():
            raise TypeError(f"these weights are packed for answers in {self.packed.dtype}")
        return _product(given, self.packed, None if self.bias is None else self.bias.to(given.dtype))


def _product(inputs: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    flat = inputs.reshape(-1, inputs.shape[-1])
    found = torch.ops.mkldnn._linear_pointwise(flat, packed, bias, "none", [], "")
    return found.view(*inputs.shape[:-1], found.shape[-1])


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this machine's oneDNN has products of that dtype."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return False
    if dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32


@torch.no_grad()
def pack_linear_layers(network: nn.Module, dtype: torch.dtype, is_right: Callable[[], bool]) -> int:
    """Packs the plain linear layers of a network on the CPU whose products stay as exact.

    Args:
        network: in evaluation mode; it is not trained any more, nor are its weights saved or merged.
        dtype: of the arithmetic.
        is_right: whether the network with packed layers still gives what it gave. If not, nothing is packed.

    Returns:
        How many were packed.
    """
    if not can_pack(dtype):
        return 0
    layers = list(_plain_layers(network))
    room = free_memory(this_machine().memory_bytes) or 0
    if sum(layer.weight.nbytes for layer in layers) > _MOST_OF_FREE * room:
        return 0
    tried: dict[tuple[int, int], bool] = {}
    plain: list[tuple[Any, nn.Parameter]] = []
    for layer in layers:
        packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.to(dtype))
        kind = (layer.in_features, layer.out_features)
        if kind not in tried:
            tried[kind] = _is_as_exact(layer, packed)
        if tried[kind]:
            plain.append((layer, layer.weight))
            unknown = torch.full((1,), float("nan"), dtype=layer.weight.dtype).expand(layer.weight.shape)
            layer.weight = nn.Parameter(unknown, requires_grad=False)
            layer.__class__, layer.packed = PackedLinear, packed
    if not plain or is_right():
        return len(plain)
    for layer, weight in plain:
        layer.__class__, layer.weight = nn.Linear, weight
        del layer.packed
    return 0


def _plain_layers(network: nn.Module) -> Iterator[Any]:
    """Linear layers on the CPU that nothing else reads the weights of."""
    reading = {id(child) for module in network.modules() if _reads_weights(module) for child in module.modules()}
    for layer in network.modules():
        if type(layer) is nn.Linear and id(layer) not in reading and not _has_hooks(layer):
            is_large = min(layer.in_features, layer.out_features) >= _LEAST
            if layer.weight.device.type == "cpu" and is_large and layer.weight.is_floating_point():
                yield layer


def _reads_weights(module: nn.Module) -> bool:
    """Whether a layer of an adapter computes with the weights of its base, as DoRA does with their norms."""
    return any(getattr(module, "use_dora", None) or [])


def _has_hooks(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


def _is_as_exact(layer: nn.Linear, packed: torch.Tensor) -> bool:
    """Whether the product of random rows is as near to that in fp32 as the plain one."""
    source = torch.Generator().manual_seed(0)
    inputs = torch.randn(_ROWS, layer.in_features, generator=source).to(packed.dtype)
    weight, bias = layer.weight.to(packed.dtype), None if layer.bias is None else layer.bias.to(packed.dtype)
    exact = nn.functional.linear(inputs.double(), weight.double(), None if bias is None else bias.double())
    plain, found = nn.functional.linear(inputs, weight, bias), _product(inputs, packed, bias)
    size = float(exact.abs().max())
    errors = [float((one.double() - exact).abs().max()) for one in (plain, found)]
    return errors[1] <= max(_EXTRA * errors[0], _LEAST_ERROR * size)
