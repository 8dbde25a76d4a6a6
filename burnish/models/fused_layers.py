"""Attention and gated feed-forward layers whose frozen products are one operation each.

A layer keeps its weights, its name and its own `forward`: its class is replaced by a subclass, as torch's
`parametrize` and `fully_shard` do. The subclass computes by itself what it supports, and calls `super().forward` for
everything else. A layer is taken for one of these kinds only after a trial: a copy of it with small random weights
must give the same outputs and gradients as the operation.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from burnish.kernels.adapted import Adapted
from burnish.kernels.gated_mlp import ACTIVATIONS, gated_mlp
from burnish.kernels.rotary import rotated_heads
from burnish.models.device import seed_torch

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
"""Names of the linear layers of attention in transformers' decoders."""
GATED = ("gate_proj", "up_proj", "down_proj")
"""And of a gated feed-forward layer."""
_FAILURES = (TypeError, ValueError, RuntimeError, IndexError, AttributeError, KeyError)
_ROUNDING = 1e-4
"""In fp32, as a share of the size of an output or gradient."""
_FEATURES, _TOKENS = 8, 5
"""Sizes of the trial."""
_LARGE = 1000.0
"""Values of this size show whether a layer clips them."""


def adapted(layer: nn.Module) -> Adapted | None:
    """A linear layer as a part of a larger operation; None where that would not give the same.

    It has to be frozen, without hooks, and plain, or have a method `adapted` that returns this.
    """
    if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks:
        return None
    if type(layer) is nn.Linear:
        is_trained = torch.is_grad_enabled() and any(weight.requires_grad for weight in layer.parameters())
        return None if is_trained else Adapted(layer.weight, layer.bias)
    make: Callable[[], Adapted | None] | None = getattr(layer, "adapted", None)
    return None if make is None else make()


def _parts(layer: nn.Module, names: tuple[str, ...]) -> list[Adapted] | None:
    """The linear layers of these names, if all of them can be parts of one operation in this call."""
    if torch.compiler.is_compiling():
        return None  # torch fuses the single operations by itself
    found = [adapted(getattr(layer, name)) for name in names]
    parts = [part for part in found if part is not None]
    return parts if len(parts) == len(names) and len({part.weight.dtype for part in parts}) == 1 else None


class _GatedLayer(nn.Module):
    """A feed-forward layer as `gated_mlp`."""

    burnish_activation: str

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """`[..., width]` to `[..., width]`."""
        parts = _parts(self, GATED) if len(args) == 1 and not kwargs else None
        if parts is None:
            return super().forward(*args, **kwargs)
        return gated_mlp(args[0], *parts, activation=self.burnish_activation)


class _RotaryAttention(nn.Module):
    """An attention layer with `rotated_heads`; the output layer is its own."""

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        attention_mask: Any = None,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Arguments and results as those of transformers' layers."""
        layer: Any = self
        parts = None
        if past_key_values is None and position_embeddings is not None and not kwargs.get("output_attentions"):
            parts = _parts(self, PROJECTIONS[:3])
        if parts is None or position_embeddings is None or position_embeddings[0].shape[-1] != layer.head_dim:
            return super().forward(
                hidden_states=hidden_states, position_embeddings=position_embeddings, attention_mask=attention_mask,
                past_key_values=past_key_values, **kwargs,
            )  # fmt: skip
        query, key, value = rotated_heads(hidden_states, *position_embeddings, *parts)
        attend = ALL_ATTENTION_FUNCTIONS[layer.config._attn_implementation]
        dropout = layer.attention_dropout if self.training else 0.0
        output, weights = attend(
            self, query, key, value, attention_mask, dropout=dropout, scaling=layer.scaling, **kwargs
        )
        return layer.o_proj(output.reshape(*hidden_states.shape[:-1], -1)), weights


class Trials:
    """Finds out of which kind layers are; those that are alike are tried once."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any] | None] = {}

    def gated(self, layer: nn.Module) -> dict[str, Any] | None:
        """The activation of a gated feed-forward layer, as an attribute by name; None if it is none."""
        return self._tried(layer, GATED, _try_gated)

    def attention(self, layer: nn.Module) -> dict[str, Any] | None:
        """Empty if it is attention with rotary embeddings; None if not."""
        return self._tried(layer, PROJECTIONS, _try_attention)

    def _tried(
        self, layer: nn.Module, names: tuple[str, ...], attempt: Callable[[Any], dict[str, Any] | None]
    ) -> dict[str, Any] | None:
        if not _has_linear(layer, names):
            return None
        key = f"{type(layer)} {names} {_sizes(layer)}"
        if key not in self._known:
            self._known[key] = _attempt(attempt, layer)
        return self._known[key]


def install_fused_layers(network: nn.Module) -> Callable[[], None] | None:
    """Replaces the classes of the layers that pass the trial.

    Args:
        network: a transformers model.

    Returns:
        A function that restores them; None if there are none.
    """
    trials = Trials()
    replaced: list[tuple[nn.Module, type[nn.Module]]] = []
    for layer in network.modules():
        for base, attempt in ((_GatedLayer, trials.gated), (_RotaryAttention, trials.attention)):
            if isinstance(layer, base):
                continue
            found = attempt(layer)
            if found is not None:
                kind = type(layer)
                layer.__class__ = subclass(base, kind)
                for name, value in found.items():
                    setattr(layer, name, value)
                replaced.append((layer, kind))

    def undo() -> None:
        for layer, kind in replaced:
            layer.__class__ = kind

    return undo if replaced else None


@functools.cache
def subclass(base: type[nn.Module], kind: type[nn.Module], prefix: str = "Fused") -> type[nn.Module]:
    """A class of layers of that kind that compute as `base` does, with a name that begins with `prefix`."""
    return type(f"{prefix}{kind.__name__}", (base, kind), {"__module__": __name__})


def _has_linear(layer: nn.Module, names: tuple[str, ...]) -> bool:
    return all(type(layer._modules.get(name)) is nn.Linear for name in names)


def _sizes(layer: nn.Module) -> str:
    """What the `forward` of a layer may depend on, apart from its weights."""
    plain = {name: value for name, value in vars(layer).items() if isinstance(value, (int, float, str, bool, tuple))}
    plain.pop("layer_idx", None)
    children = [(name, type(child).__name__) for name, child in layer.named_children()]
    return f"{sorted(plain.items())} {children}"


def _attempt(attempt: Callable[[Any], dict[str, Any] | None], layer: nn.Module) -> dict[str, Any] | None:
    source = torch.random.get_rng_state()
    seed_torch(0)
    try:
        with torch.enable_grad():
            return attempt(layer)
    except _FAILURES:
        return None
    finally:
        torch.random.set_rng_state(source)


def _small(layer: nn.Module, sizes: dict[str, tuple[int, int]]) -> Any:
    """A copy of a layer with small random linear layers in fp32 on the CPU; everything else is shared."""
    small = copy.copy(layer)
    small._modules = dict(layer._modules)
    small.training = False
    for name, (inputs, outputs) in sizes.items():
        plain: Any = layer._modules[name]
        linear = nn.Linear(inputs, outputs, bias=plain.bias is not None, device="cpu", dtype=torch.float32)
        small._modules[name] = linear.requires_grad_(False)
    if any(weight.is_meta for weight in small.parameters()):
        raise ValueError("the layer has other weights")
    return small


def _try_gated(layer: Any) -> dict[str, Any] | None:
    """The activation with which `gated_mlp` gives what the layer gives; None if there is none."""
    hidden = 2 * _FEATURES
    sizes: dict[str, tuple[int, int]] = dict(
        zip(GATED, ((_FEATURES, hidden), (_FEATURES, hidden), (hidden, _FEATURES)), strict=True)
    )
    small = _small(layer, sizes)
    inputs = torch.randn(1, _TOKENS, _FEATURES) * torch.tensor([0.1, 1.0, 5.0, 10.0, 30.0])[:, None]
    for name in ACTIVATIONS:
        parts = [Adapted(getattr(small, part).weight, getattr(small, part).bias) for part in GATED]
        run = functools.partial(gated_mlp, gate=parts[0], up=parts[1], down=parts[2], activation=name)
        if _is_same(small, run, inputs):
            return {"burnish_activation": name}
    return None


def _try_attention(layer: Any) -> dict[str, Any] | None:
    """Whether `_RotaryAttention` gives what the layer gives."""
    size = int(layer.head_dim)
    heads, key_heads = (len(layer._modules[name].weight) for name in PROJECTIONS[:2])
    sizes = dict.fromkeys(PROJECTIONS[1:3], (_FEATURES, key_heads))
    small = _small(layer, {**sizes, "q_proj": (_FEATURES, heads), "o_proj": (heads, _FEATURES)})
    small.v_proj.weight.mul_(_LARGE)
    fused = copy.copy(small)
    fused.__class__ = subclass(_RotaryAttention, type(layer))
    inputs, turns = torch.randn(1, _TOKENS, _FEATURES), torch.randn(2, 1, _TOKENS, size)

    def run(module: Any, given: torch.Tensor) -> torch.Tensor:
        output, _ = module(hidden_states=given, position_embeddings=(turns[0], turns[1]), attention_mask=None)
        return output

    return {} if _is_same(functools.partial(run, small), functools.partial(run, fused), inputs) else None


def _is_same(
    theirs: Callable[[torch.Tensor], torch.Tensor], ours: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor
) -> bool:
    """Whether outputs and the gradients of the inputs agree up to rounding, token by token: those of large inputs would
    hide how activations differ on small ones."""
    results = []
    for run in (theirs, ours):
        given = inputs.clone().requires_grad_()
        output = run(given)
        slopes = torch.linspace(-1, 1, output.numel()).view(output.shape)
        (gradient,) = torch.autograd.grad((output * slopes).sum(), given)
        results.append((output.detach(), gradient))
    return all(
        found.shape == expected.shape
        and bool(((found - expected).norm(dim=-1) <= _ROUNDING * expected.norm(dim=-1)).all())
        for expected, found in zip(*results, strict=True)
    )
