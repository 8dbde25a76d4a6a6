"""Products with packed weights, and with the LoRA adapters around the layers that had them.

PEFT's layer computes an adapter in many single operations. For a few new tokens these take more time than the layer
itself. Here the adapters around layers with the same inputs are two products for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from burnish.models.packed_linear import PackedLinear, PackedWeights, RowsProduct, TakenLinear

Active = tuple[str | None, ...]
"""The name of each layer's adapter; None without one."""


def base_of(layer: Any) -> Any:
    """The layer inside of a LoRA layer whose adapters are plain; another layer itself."""
    if not _has_lora(layer) or layer.lora_variant or any(layer.lora_bias.values()) or layer.merged:
        return layer
    return layer.base_layer


class AdaptedProduct(RowsProduct):
    """What one or several layers of a module give for the same inputs.

    Args:
        module: that has the layers.
        names: of the layers in it; adapters may come around them, or change, at any time.
        packed: their weights.
    """

    def __init__(self, module: nn.Module, names: Sequence[str], packed: PackedWeights) -> None:
        self._layers, self._names, self._packed = module._modules, tuple(names), packed
        self.dtype = packed.dtype
        self._made: dict[Active, tuple[Any, PackedWeights, PackedWeights]] = {}

    def of_rows(self, inputs: torch.Tensor) -> torch.Tensor:
        """The same of `[rows, inputs]` that are known to be in the type of the arithmetic."""
        found = self._packed.of_rows(inputs)
        active = tuple([_active(self._layers[name]) for name in self._names])
        if any(active):
            down, up = self._adapters(active)
            found.add_(up.of_rows(down.of_rows(inputs)))
        return found

    def _adapters(self, active: Active) -> tuple[PackedWeights, PackedWeights]:
        """Both matrices of all adapters, joined: of the second, each in the rows of its own layer."""
        layers: list[Any] = [self._layers[name] for name in self._names]
        first = next(layer.lora_B[name].weight for layer, name in zip(layers, active, strict=True) if name)
        made = self._made.get(active)
        if made is None or made[0] is not first:
            self._made = {names: one for names, one in self._made.items() if _are_there(layers, names)}
            self._made[active] = made = first, *_joined(layers, active, self.dtype)
        return made[1], made[2]


@torch.no_grad()
def _joined(layers: Sequence[Any], active: Active, dtype: torch.dtype) -> tuple[PackedWeights, PackedWeights]:
    downs, ups = [], []
    for layer, name in zip(layers, active, strict=True):
        if name is not None:
            downs.append(layer.lora_A[name].weight.float())
        outputs = base_of(layer).out_features
        ups.append(
            torch.zeros(outputs, 0) if name is None else layer.lora_B[name].weight.float() * float(layer.scaling[name])
        )
    # blocks on a diagonal: a layer takes nothing from the adapters of the others
    return PackedWeights([torch.cat(downs)], [], dtype), PackedWeights([torch.block_diag(*ups)], [], dtype)


def _active(layer: Any) -> str | None:
    """The name of a layer's adapter, if it has one that is on.

    Raises:
        TypeError: several are on, or the layer is of another kind.
    """
    if type(layer) is TakenLinear or type(layer) is PackedLinear:
        return None
    if not _has_lora(layer):
        raise TypeError("a layer has come around one whose weights were packed, and is none of LoRA")
    if layer.disable_adapters:
        return None
    names = [name for name in layer.active_adapters if name in layer.lora_A]
    if len(names) > 1 or any(name in layer.lora_variant or layer.lora_bias[name] for name in names):
        raise TypeError("these adapters are not computed with packed weights")
    return names[0] if names else None


def _has_lora(layer: Any) -> bool:
    return isinstance(layer, nn.Module) and "lora_A" in layer._modules and hasattr(layer, "base_layer")


def _are_there(layers: Sequence[Any], names: Active) -> bool:
    """Whether the layers still have these adapters."""
    return all(name is None or name in layer.lora_A for layer, name in zip(layers, names, strict=True))
