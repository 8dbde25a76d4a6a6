"""PEFT's LoRA layer as one fused operation, for layers where the result is the same."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from burnish.kernels.adapted import Adapted
from burnish.kernels.lora_linear import lora_linear, lora_packed_linear

_PLAIN = (nn.Linear, Conv1D)


def register_layers(config: Any, layers: Sequence[nn.Module]) -> None:
    """Makes PEFT use fused layers for plain and 4-bit layers, unless there are layers of other kinds.

    Args:
        config: PEFT's `LoraConfig`.
        layers: the layers that get an adapter.
    """
    plain = dict.fromkeys(_PLAIN, fused_layer)
    four_bit = {kind: fused_quantized_layer for kind in map(type, layers) if _is_four_bit(kind)}
    makers = {**four_bit, **plain}  # PEFT uses the first that matches, and 4-bit layers are plain ones, too
    if all(type(layer) in makers for layer in layers):
        config._register_custom_module({kind: make() for kind, make in makers.items()})


def _is_four_bit(kind: type) -> bool:
    return (kind.__module__, kind.__name__) == ("bitsandbytes.nn.modules", "Linear4bit")


@functools.cache
def fused_layer() -> type[nn.Module]:
    """The class; created on request, because it needs PEFT."""
    from peft.tuners.lora.layer import Linear

    class FusedLinear(Linear):
        """Falls back to PEFT's own forward pass for what `lora_linear` does not support."""

        def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
            layer = None if args or kwargs else self.adapted()
            if layer is None or layer.down is None:
                return super().forward(x, *args, **kwargs)
            return lora_linear(x, layer)

        def adapted(self) -> Adapted | None:
            """The layer as a part of an operation; None for what only PEFT's own forward pass supports.

            Without its adapter where that is disabled, so that both are computed the same way.
            """
            base: Any = self.get_base_layer()
            if self.disable_adapters and type(base) is nn.Linear and not self.merged:
                return Adapted(base.weight, base.bias)
            name = _only_adapter(self)
            if name is None:
                return None
            down: Any = self.lora_A[name]
            up: Any = self.lora_B[name]
            weight = base.weight.T if isinstance(base, Conv1D) else base.weight
            return Adapted(weight, base.bias, down.weight, up.weight, self.scaling[name])

    return FusedLinear


@functools.cache
def fused_quantized_layer() -> type[nn.Module]:
    """The class for 4-bit layers; created on request, because it needs PEFT and bitsandbytes."""
    from bitsandbytes.functional import dequantize_4bit
    from peft.tuners.lora.bnb import Linear4bit

    class FusedLinear4bit(Linear4bit):
        """Falls back to PEFT's own forward pass for what `lora_packed_linear` does not support."""

        def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
            name = _only_adapter(self)
            base: Any = self.get_base_layer()
            if name is None or args or kwargs or not x.numel() or base.compute_dtype is None:
                return super().forward(x, *args, **kwargs)
            weight = base.weight
            state = getattr(weight, "quant_state", None)
            if state is None or getattr(state, "packing_format_for_cpu", False):
                return super().forward(x, *args, **kwargs)
            down: Any = self.lora_A[name]
            up: Any = self.lora_B[name]

            def unpacked() -> Any:
                return dequantize_4bit(weight.data.view(-1, 1), state)

            output = lora_packed_linear(
                x.to(base.compute_dtype), base, unpacked, down.weight, up.weight, self.scaling[name]
            )
            return output.to(x.dtype)

    return FusedLinear4bit


def _only_adapter(layer: Any) -> str | None:
    """The name of the adapter if it is the only one, plain, and on a frozen layer of a known kind; else None."""
    names = [name for name in layer.active_adapters if name in layer.lora_A]
    if layer.disable_adapters or layer.merged or len(names) != 1:
        return None
    (name,) = names
    base = layer.get_base_layer()
    is_known = type(base) in _PLAIN or _is_four_bit(type(base))
    is_plain = is_known and not any(weight.requires_grad for weight in base.parameters())
    is_dropping = layer.training and not isinstance(layer.lora_dropout[name], nn.Identity)
    if not is_plain or is_dropping or name in layer.lora_variant or layer.lora_bias[name]:
        return None
    return name
