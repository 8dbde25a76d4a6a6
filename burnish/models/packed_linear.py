"""Linear layers whose weights oneDNN has laid out for its own products, for networks that only answer.

For few rows, a product reads each weight once and computes little. Laid out in the order in which they are read, bf16
weights make it 1.2 to 1.9 times as fast, and fp32 weights up to 2.9 times with several rows, but not with a single one
(`bench/answering.py`). The plain weights are let go, so memory stays as it was, but for an embedding that
an output layer shares.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from burnish.kernels.precision import arithmetic_type
from burnish.system.huge_pages import use_huge_pages

_LEAST = 64
"""Inputs and outputs of a layer from which this pays; those of adapters have fewer."""
_ROWS = 3
"""Of the trial."""
_EXTRA = 2.0
"""How much further from fp32 than the plain product a packed one may be, by the largest error."""
_WIDE = 1024
"""Inputs that oneDNN adds up one after the other. Of more it adds up parts, which differ for a single row."""
_LEAST_ERROR = 1e-5
"""As a share of the largest result: below it, rounding."""


class RowsProduct(ABC):
    """What is computed for each row of inputs by itself, in one type of arithmetic."""

    dtype: torch.dtype
    """Of the arithmetic."""

    def product(self, inputs: torch.Tensor) -> torch.Tensor:
        """`[..., inputs]` to `[..., outputs of all layers]`: of a row, the same alone and among others."""
        given = inputs.to(arithmetic_type(inputs))
        if given.dtype != self.dtype or torch.is_grad_enabled():
            raise TypeError(f"these weights are packed for answers in {self.dtype}")
        found = self.of_rows(given.reshape(-1, given.shape[-1]))
        return found.view(*inputs.shape[:-1], found.shape[-1])

    @abstractmethod
    def of_rows(self, inputs: torch.Tensor) -> torch.Tensor:
        """The same of `[rows, inputs]` that are known to be in the type of the arithmetic."""


class PackedWeights(RowsProduct):
    """Weights of one or several layers with the same inputs, in oneDNN's layout.

    Args:
        weights: `[outputs, inputs]` each.
        biases: `[outputs]` each; of all layers, or none.
        dtype: of the arithmetic.
    """

    def __init__(self, weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor], dtype: torch.dtype) -> None:
        joined = torch.cat(list(weights)) if len(weights) > 1 else weights[0]
        self._packed = torch.ops.mkldnn._reorder_linear_weight(joined.to(dtype))
        self._bias = torch.cat(list(biases)).to(dtype) if biases else None
        self._linear = torch.ops.mkldnn._linear_pointwise.default
        self.dtype = dtype

    @property
    def memory(self) -> tuple[int, int]:
        """Address and bytes of the weights."""
        return torch.ops.mkldnn.data_ptr(self._packed), torch.ops.mkldnn._nbytes(self._packed)

    def of_rows(self, inputs: torch.Tensor) -> torch.Tensor:
        """The same of `[rows, inputs]` that are known to be in the type of the arithmetic."""
        number, width = inputs.shape
        if number == 1 and width > _WIDE:
            # costs little: the weights are what has to be read
            return self._linear(inputs.repeat(2, 1), self._packed, self._bias, "none", [], "")[:1]
        return self._linear(inputs, self._packed, self._bias, "none", [], "")


class PackedLinear(nn.Linear):
    """A linear layer with packed weights. `weight` keeps its shape, but every value is NaN, so that whatever else reads
    it gets no answer rather than a wrong one."""

    packed: PackedWeights

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  torch's name
        """`[..., inputs]` to `[..., outputs]`."""
        return self.packed.product(input)


class TakenLinear(nn.Linear):
    """A linear layer whose weights were packed with those of others; the layer that holds both computes with them."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  torch's name
        """Not any more."""
        raise TypeError("the weights of this layer are packed together with others")


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this machine's oneDNN has products of that dtype."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_reorder_linear_weight"):
        return False
    if dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32


class Packing:
    """Packs layers of a network, and can take all of that back.

    Args:
        dtype: of the arithmetic.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._tried: dict[tuple[int, int], bool] = {}
        self._undo: list[Callable[[], None]] = []
        self._packed: list[PackedWeights] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing was changed."""
        return not self._undo

    @torch.no_grad()
    def pack(self, layers: Sequence[nn.Linear]) -> PackedWeights | None:
        """The weights of layers with the same inputs, which these give up: a single one keeps using them, of several
        none can be called any more. None if their products would be less exact, or if only some have a bias."""
        biases = [layer.bias for layer in layers if layer.bias is not None]
        if biases and len(biases) < len(layers):
            return None
        packed = PackedWeights([layer.weight for layer in layers], biases, self._dtype)
        if not self._is_as_exact(layers, packed):
            return None
        for layer in layers:
            weight = layer.weight
            unknown = torch.full((1,), float("nan"), dtype=weight.dtype).expand(weight.shape)
            layer.weight = nn.Parameter(unknown, requires_grad=False)
            self.change(layer, PackedLinear if len(layers) == 1 else TakenLinear)
            if len(layers) == 1:
                alone: Any = layer
                alone.packed = packed
            self._undo.append(lambda layer=layer, weight=weight: setattr(layer, "weight", weight))
        self._packed.append(packed)
        return packed

    def change(self, layer: nn.Module, kind: type[nn.Module]) -> None:
        """Gives a layer another class."""
        before = type(layer)
        layer.__class__ = kind
        self._undo.append(lambda: setattr(layer, "__class__", before))

    def settle(self) -> None:
        """Keeps what was packed for long: in memory that is read faster."""
        use_huge_pages(packed.memory for packed in self._packed)

    def undo(self) -> None:
        """Takes everything back."""
        self._packed.clear()
        while self._undo:
            self._undo.pop()()

    def _is_as_exact(self, layers: Sequence[nn.Linear], packed: PackedWeights) -> bool:
        """Whether the products of random rows are as near to those in fp32 as the plain ones; tried once by size."""
        kind = (layers[0].in_features, sum(layer.out_features for layer in layers))
        if kind not in self._tried:
            source = torch.Generator().manual_seed(0)
            inputs = torch.randn(_ROWS, kind[0], generator=source).to(self._dtype)
            plain, exact = [], []
            for layer in layers:
                weight, bias = layer.weight.to(self._dtype), None if layer.bias is None else layer.bias.to(self._dtype)
                plain.append(nn.functional.linear(inputs, weight, bias))
                wide = None if bias is None else bias.double()
                exact.append(nn.functional.linear(inputs.double(), weight.double(), wide))
            right = torch.cat(exact, -1)
            found = [torch.cat(plain, -1), packed.product(inputs)]
            errors = [float((one.double() - right).abs().max()) for one in found]
            self._tried[kind] = errors[1] <= max(_EXTRA * errors[0], _LEAST_ERROR * float(right.abs().max()))
        return self._tried[kind]


def plain_layers(network: nn.Module) -> Iterator[nn.Linear]:
    """Linear layers on the CPU that are worth packing, and whose weights no adapter reads."""
    reading = {id(child) for module in network.modules() if _reads_weights(module) for child in module.modules()}
    for layer in network.modules():
        if isinstance(layer, nn.Linear) and is_plain(layer) and id(layer) not in reading:
            yield layer


def is_plain(layer: Any) -> bool:
    """Whether this is a plain linear layer on the CPU, worth packing."""
    if type(layer) is not nn.Linear or layer._forward_hooks or layer._forward_pre_hooks:
        return False
    is_large = min(layer.in_features, layer.out_features) >= _LEAST
    return is_large and layer.weight.device.type == "cpu" and layer.weight.is_floating_point()


def _reads_weights(module: nn.Module) -> bool:
    """Whether a layer of an adapter computes with the weights of its base, as DoRA does with their norms."""
    return any(getattr(module, "use_dora", None) or [])
