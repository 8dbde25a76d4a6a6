"""Attention, gated feed-forward layers and norms of networks that only answer, as few operations.

One new token per row is so little to compute that the calls themselves count. Here a layer's projections are one
product, queries and keys are rotated together, and a norm is one call. As in `fused_layers`, a layer keeps its name and
its parts, and is taken for one of these kinds only after a trial.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from burnish.kernels.gated_mlp import ACTIVATIONS
from burnish.models.adapted_product import AdaptedProduct, base_of
from burnish.models.fast_paths import computes_rms_norm, epsilon_of
from burnish.models.fused_layers import GATED, PROJECTIONS, Trials, subclass
from burnish.models.growing_cache import GrowingCache
from burnish.models.packed_linear import Packing, is_plain

PREFIX = "Answering"
"""Of the names of classes."""


class GatedAnswers(nn.Module):
    """A gated feed-forward layer with its first two products in one."""

    burnish_activation: str
    burnish_joined: AdaptedProduct
    burnish_output: AdaptedProduct

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """`[..., width]` to `[..., width]`."""
        gate, up = self.burnish_joined.product(inputs).chunk(2, -1)
        return self.burnish_output.product(ACTIVATIONS[self.burnish_activation](gate).mul_(up))


class AttentionAnswers(nn.Module):
    """An attention layer with rotary embeddings; queries, keys and values are one product."""

    burnish_joined: AdaptedProduct
    burnish_output: AdaptedProduct
    burnish_heads: tuple[int, int]
    """Of queries, and of keys."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: Any = None,
        past_key_values: Any = None,
        **others: Any,
    ) -> tuple[torch.Tensor, Any]:
        """Arguments and results as those of transformers' layers."""
        layer: Any = self
        (rows, width), size = hidden_states.shape[:2], layer.head_dim
        heads = self.burnish_joined.product(hidden_states).view(rows, width, -1, size)
        query, key, value = rotated(heads, self, turns(*position_embeddings))
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, layer.layer_idx)
        if isinstance(past_key_values, GrowingCache):
            others["room"] = past_key_values.room(layer.layer_idx, attention_mask)
        attend = ALL_ATTENTION_FUNCTIONS[layer.config._attn_implementation]
        output, shares = attend(self, query, key, value, attention_mask, dropout=0.0, scaling=layer.scaling, **others)
        return self.burnish_output.product(output.reshape(rows, width, -1)), shares


class NormAnswers(nn.Module):
    """A root mean square norm as one operation."""

    weight: torch.Tensor
    burnish_epsilon: torch.Tensor
    """Of no dimension, fp32."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """`[..., width]`, normalized."""
        return normalized(inputs, self)


def normalized(inputs: torch.Tensor, norm: NormAnswers) -> torch.Tensor:
    """`[..., width]`, in fp32, and rounded where Llama's code rounds. On the CPU torch's own norm is twice as many
    operations."""
    wide = inputs.to(torch.float32, copy=True)
    length = torch.linalg.vector_norm(wide, 2, -1, keepdim=True)
    share = torch.addcmul(norm.burnish_epsilon, length, length, value=1 / wide.shape[-1]).rsqrt_()
    narrow = wide.mul_(share).to(inputs.dtype)
    return narrow.mul_(norm.weight) if norm.weight.dtype == narrow.dtype else norm.weight * narrow


def rotated(
    heads: torch.Tensor, layer: AttentionAnswers, turns: tuple[torch.Tensor, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys and values `[rows, heads, width, size]` from `[rows, width, heads of all three, size]`.

    Args:
        heads: not yet rotated; written over.
        layer: whose they are.
        turns: of `turns`.
    """
    queries, keys = layer.burnish_heads
    turning = heads.narrow(2, 0, queries + keys)
    other_half = turning.roll(turning.shape[-1] // 2, -1)
    turning.mul_(turns[0]).addcmul_(other_half, turns[1])
    heads = heads.transpose(1, 2)
    query, rest = heads.narrow(1, 0, queries), heads.shape[1] - queries - keys
    return query, heads.narrow(1, queries, keys), heads.narrow(1, queries + keys, rest)


def turns(cosine: torch.Tensor, sine: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The factors of a number and of its partner in the other half of a head, `[rows, width, 1, size]` each.

    Args:
        cosine: of the positions, `[rows, width, size]`.
        sine: the same.
    """
    half = sine.shape[-1] // 2
    signed = torch.cat((-sine[..., :half], sine[..., half:]), -1)
    return cosine.unsqueeze(2), signed.unsqueeze(2)


def join_layers(network: nn.Module, packing: Packing) -> None:
    """Replaces the classes of the layers that pass their trial."""
    trials, norms = Trials(), dict[str, bool]()
    for layer in list(network.modules()):
        if (bare := _bare(layer, GATED)) is not None and (found := trials.gated(bare)) is not None:
            _join(layer, GATED, GatedAnswers, packing, **found)
        elif (bare := _bare(layer, PROJECTIONS)) is not None and trials.attention(bare) is not None:
            _join(layer, PROJECTIONS, AttentionAnswers, packing, burnish_heads=_heads(bare))
        elif (epsilon := epsilon_of(layer)) is not None and _is_plain_norm(layer, norms):
            packing.change(layer, subclass(NormAnswers, type(layer), PREFIX))
            norm: Any = layer
            norm.burnish_epsilon = torch.tensor(epsilon)


def _heads(layer: Any) -> tuple[int, ...]:
    return tuple(layer._modules[name].out_features // int(layer.head_dim) for name in PROJECTIONS[:2])


def _bare(layer: nn.Module, names: tuple[str, ...]) -> nn.Module | None:
    """A layer without the adapters around its parts of these names; None if these are not plain."""
    parts = {name: base_of(layer._modules.get(name)) for name in names}
    if not all(map(is_plain, parts.values())):
        return None
    bare = copy.copy(layer)
    bare._modules = {**layer._modules, **parts}
    return bare


def _join(layer: Any, names: tuple[str, ...], kind: type[nn.Module], packing: Packing, **attributes: Any) -> None:
    """Joins all layers of these names but the last, which is the output layer, and gives the whole another class."""
    *first, last = names
    output = packing.pack([base_of(layer._modules[last])])
    joined = None if output is None else packing.pack([base_of(layer._modules[name]) for name in first])
    if output is None or joined is None:
        return
    packing.change(layer, subclass(kind, type(layer), PREFIX))
    products = {"burnish_joined": AdaptedProduct(layer, first, joined)}
    products |= {"burnish_output": AdaptedProduct(layer, [last], output)}
    for name, value in {**attributes, **products}.items():
        setattr(layer, name, value)


def _is_plain_norm(layer: Any, known: dict[str, bool]) -> bool:
    if getattr(layer, "weight", None) is None or isinstance(layer, NormAnswers):
        return False
    kind = f"{type(layer)} {layer.weight.shape} {epsilon_of(layer)}"
    if kind not in known:
        known[kind] = computes_rms_norm(layer)
    return known[kind]
