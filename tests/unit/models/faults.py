"""Small faults of a Llama's arithmetic, each of which a probe has to see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRMSNorm


def _sees_the_future(network: Any) -> None:
    """Attention is not causal."""
    _change_masks(network, lambda mask: torch.zeros_like(mask) if isinstance(mask, torch.Tensor) else mask, False)


def _ignores_packing(network: Any) -> None:
    """Attention is causal and nothing else: no padding, no borders between packed examples."""
    _change_masks(network, lambda mask: None, True)


def _change_masks(network: Any, change: Callable[[Any], Any], is_causal: bool) -> None:
    for layer in _attention_layers(network):
        layer.is_causal = is_causal

        def forward(*args: Any, attention_mask: Any = None, plain: Any = layer.forward, **others: Any) -> Any:
            return plain(*args, attention_mask=change(attention_mask), **others)

        layer.forward = forward


def _shifts_positions(network: Any) -> None:
    """Queries and keys of the last example are rotated as if it began one position later than it does."""
    plain = network.model.rotary_emb.forward

    def forward(hidden: torch.Tensor, position_ids: torch.Tensor, *args: Any) -> Any:
        shifted = position_ids.clone()
        shifted[:, -1:] += 1
        return plain(hidden, shifted, *args)

    network.model.rotary_emb.forward = forward


def _lacks_the_scale(network: Any) -> None:
    """Scores are not divided by the root of the width."""
    for layer in _attention_layers(network):
        layer.scaling = 1.0


def _norms_as_gemma(network: Any) -> None:
    """Norms multiply by one plus their weight."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, LlamaRMSNorm):
                module.weight += 1


def _attention_layers(network: Any) -> list[LlamaAttention]:
    return [module for module in network.modules() if isinstance(module, LlamaAttention)]


FAULTS: dict[str, Callable[[Any], None]] = {
    "sees the future": _sees_the_future,
    "ignores packing": _ignores_packing,
    "shifts positions": _shifts_positions,
    "lacks the scale": _lacks_the_scale,
    "norms as Gemma": _norms_as_gemma,
}
