"""Whole blocks of networks that only answer: attention, feed-forward layer, norms and both sums in one function.

Called one by one, the parts of a block take more time than their arithmetic for a few new tokens: each is a module with
hooks to look for, arguments to pass on and shapes to find out again. A block is taken for one of this kind only after a
trial, and computes what its parts would, bit for bit; whatever it does not support, it leaves to them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from burnish.kernels.few_tokens_attention import are_few, few_tokens_attention
from burnish.kernels.gated_mlp import ACTIVATIONS
from burnish.kernels.precision import arithmetic_type
from burnish.models.answering_layers import (
    PREFIX,
    AttentionAnswers,
    GatedAnswers,
    NormAnswers,
    normalized,
    rotated,
    turns,
)
from burnish.models.attention import NAMES
from burnish.models.fused_layers import subclass
from burnish.models.growing_cache import GrowingCache
from burnish.models.packed_linear import Packing

_NAMES = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")
"""Of the parts of a block in transformers' decoders."""
_UNREAD = {"position_ids", "use_cache", "cache_position"}
"""Arguments of a block that change nothing where keys are rotated before they are cached."""
_LEAST_ROWS = 4
"""Of a product in bf16: oneDNN takes longer for fewer (`bench/answering.py`). Each row is computed by itself."""
_FAILURES = (TypeError, ValueError, RuntimeError, IndexError, AttributeError, KeyError)


@dataclass(slots=True)
class _Parts:
    """The modules of a block, looked up once."""

    norms: tuple[NormAnswers, NormAnswers]
    attention: Any
    gated: Any


class _BlockAnswers(nn.Module):
    """A decoder block whose parts are those of `answering_layers`."""

    burnish_parts: _Parts

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: Any = None,
        position_embeddings: Any = None,
        past_key_values: Any = None,
        **others: Any,
    ) -> Any:
        """`[rows, new tokens, width]` to the same; arguments as those of transformers' blocks."""
        parts = self.burnish_parts
        if not (
            isinstance(past_key_values, GrowingCache)
            and all(value is None or name in _UNREAD for name, value in others.items())
            and _are_few(hidden_states, attention_mask, parts.attention.burnish_heads[0])
            and hidden_states.dtype == parts.attention.burnish_joined.dtype == arithmetic_type(hidden_states)
            and hidden_states.dtype == parts.norms[0].weight.dtype
            and not torch.is_grad_enabled()
        ):
            return super().forward(
                hidden_states, attention_mask=attention_mask, position_embeddings=position_embeddings,
                past_key_values=past_key_values, **others,
            )  # fmt: skip
        attention, gated = parts.attention, parts.gated
        rows, new, width = hidden_states.shape
        tokens = rows * new
        inputs = _filled(hidden_states.reshape(-1, width))
        heads = attention.burnish_joined.of_rows(normalized(inputs, parts.norms[0]))[:tokens]
        turning = past_key_values.made_once(position_embeddings, lambda: turns(*position_embeddings))
        query, key, value = rotated(heads.view(rows, new, -1, attention.head_dim), attention, turning)
        past_key_values.update(key, value, attention.layer_idx)
        room: Any = past_key_values.room(attention.layer_idx, attention_mask)
        seen = few_tokens_attention(query, room.keys, room.values, room.hidden, attention.scaling)
        seen = _filled(seen.transpose(1, 2).reshape(tokens, -1))
        inputs = attention.burnish_output.of_rows(seen).add_(inputs)
        both = gated.burnish_joined.of_rows(normalized(inputs, parts.norms[1]))
        half = both.shape[1] // 2
        active = ACTIVATIONS[gated.burnish_activation](both.narrow(1, 0, half)).mul_(both.narrow(1, half, half))
        return gated.burnish_output.of_rows(active).add_(inputs)[:tokens].view(rows, new, width)


def _filled(rows: torch.Tensor) -> torch.Tensor:
    """At least so many rows that a product takes least time; those besides do not count."""
    missing = _LEAST_ROWS - len(rows)
    if missing <= 0 or rows.dtype != torch.bfloat16:
        return rows
    return rows.expand(_LEAST_ROWS, -1) if len(rows) == 1 else torch.cat((rows, rows[:1].expand(missing, -1)))


def _are_few(inputs: torch.Tensor, mask: Any, heads: int) -> bool:
    """Whether these are tokens that `attend` hands to `few_tokens_attention`, whatever is in the cache."""
    rows, new = inputs.shape[:2]
    if mask is None:
        return new == 1
    if not isinstance(mask, torch.Tensor) or mask.dtype != torch.bool:
        return False
    return new == 1 or (new < mask.shape[-1] and are_few(rows, heads, new, mask.shape[-1]))


def join_blocks(network: nn.Module, packing: Packing) -> None:
    """Replaces the classes of the blocks that pass their trial, after their parts were replaced."""
    known = dict[type[nn.Module], bool]()
    for block in list(network.modules()):
        parts = _parts(block)
        if parts is None:
            continue
        kind = type(block)
        if kind not in known:
            known[kind] = _adds_its_parts(block)
        if known[kind]:
            packing.change(block, subclass(_BlockAnswers, kind, PREFIX))
            joined: Any = block
            joined.burnish_parts = parts


def _parts(block: nn.Module) -> _Parts | None:
    """The parts of a block; None if it has others, or others than those of `answering_layers`."""
    if isinstance(block, _BlockAnswers) or set(block._modules) != set(_NAMES):
        return None
    if block._parameters or block._buffers or block._forward_hooks or block._forward_pre_hooks:
        return None
    first, attention, second, gated = (block._modules[name] for name in _NAMES)
    if not isinstance(attention, AttentionAnswers) or not isinstance(gated, GatedAnswers):
        return None
    own: Any = attention
    if own.config._attn_implementation != NAMES["cpu"]:
        return None
    if not isinstance(first, NormAnswers) or not isinstance(second, NormAnswers):
        return None
    return _Parts((first, second), attention, gated)


class _StandIn(nn.Module):
    """Maps numbers to others, and keeps what it was given besides."""

    def __init__(self, scale: float, offset: float, is_attention: bool = False) -> None:
        super().__init__()
        self.scale, self.offset, self.is_attention = scale, offset, is_attention
        self.given: dict[str, Any] = {}

    def forward(self, hidden_states: torch.Tensor, **given: Any) -> Any:
        """The numbers, with None beside them where attention has its shares."""
        self.given = given
        made = hidden_states * self.scale + self.offset
        return (made, None) if self.is_attention else made


def _adds_its_parts(block: Any) -> bool:
    """Whether a block adds attention and feed-forward layer, each after its norm, to what it is given, and nothing
    else; tried with stand-ins for the four."""
    small = copy.copy(block)
    made = _StandIn(2, 1), _StandIn(3, 5, is_attention=True), _StandIn(5, -7), _StandIn(7, 11)
    first, attention, second, gated = made
    small._modules = dict(zip(_NAMES, made, strict=True))
    inputs = torch.arange(6.0).view(1, 2, 3)
    marks = {name: object() for name in ("attention_mask", "position_embeddings", "past_key_values")}
    try:
        found = small.forward(inputs, **marks)
    except _FAILURES:
        return False
    between = inputs + attention(first(inputs), **attention.given)[0]
    expected = between + gated(second(between))
    is_same = isinstance(found, torch.Tensor) and torch.equal(found, expected)
    return is_same and all(attention.given.get(name) is mark for name, mark in marks.items())
