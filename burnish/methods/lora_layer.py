"""PEFT's LoRA layer, with its arithmetic done in one operation where that is the same."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from burnish.kernels.lora_linear import lora_linear

_PLAIN = (nn.Linear, Conv1D)


def register_layers(config: Any, layers: Sequence[nn.Module]) -> None:
    """Lets PEFT put `fused_layer` on the layers, unless some are quantized, for which it has LoRA layers of its own.

    Args:
        config: PEFT's `LoraConfig`.
        layers: that get an adapter.
    """
    if all(type(layer) in _PLAIN for layer in layers):
        config._register_custom_module(dict.fromkeys(_PLAIN, fused_layer()))


@functools.cache
def fused_layer() -> type[nn.Module]:
    """The class, made when PEFT is there."""
    from peft.tuners.lora.layer import Linear

    class FusedLinear(Linear):
        """Falls back to PEFT's own forward pass for whatever `lora_linear` does not do."""

        def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
            name = _only_adapter(self)
            if name is None or args or kwargs:
                return super().forward(x, *args, **kwargs)
            base: Any = self.get_base_layer()
            down: Any = self.lora_A[name]
            up: Any = self.lora_B[name]
            weight = base.weight.T if isinstance(base, Conv1D) else base.weight
            return lora_linear(x, weight, base.bias, down.weight, up.weight, self.scaling[name])

    return FusedLinear


def _only_adapter(layer: Any) -> str | None:
    """The name of the adapter, where there is one plain one on a frozen plain layer."""
    names = [name for name in layer.active_adapters if name in layer.lora_A]
    if layer.disable_adapters or layer.merged or len(names) != 1:
        return None
    (name,) = names
    base = layer.get_base_layer()
    is_plain = type(base) in _PLAIN and not any(weight.requires_grad for weight in base.parameters())
    is_dropping = layer.training and not isinstance(layer.lora_dropout[name], nn.Identity)
    if not is_plain or is_dropping or name in layer.lora_variant or layer.lora_bias[name]:
        return None
    return name
