"""Norms are replaced where they give what the fast one gives, and only there."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.mistral.modeling_mistral import MistralRMSNorm
from transformers.models.phi3.modeling_phi3 import Phi3RMSNorm
from transformers.models.qwen2.modeling_qwen2 import Qwen2RMSNorm
from transformers.models.t5.modeling_t5 import T5LayerNorm

from burnish.models.fast_paths import FusedRMSNorm, arrange, computes_rms_norm
from tests.tiny_models import make_network


class ShiftedRMSNorm(LlamaRMSNorm):
    """Llama's name and shape, and other arithmetic."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return super().forward(hidden_states) + 1


class WithBiasRMSNorm(LlamaRMSNorm):
    """Llama's arithmetic, and a parameter that it does not use."""

    def __init__(self) -> None:
        super().__init__(8)
        self.bias = nn.Parameter(torch.zeros(8))


class OtherEpsilonRMSNorm(LlamaRMSNorm):
    """Adds another number than the one it shows."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return LlamaRMSNorm.forward(_Shown(self.weight, 10 * self.variance_epsilon), hidden_states)  # type: ignore


class _Shown:
    def __init__(self, weight: Any, variance_epsilon: float) -> None:
        self.weight, self.variance_epsilon = weight, variance_epsilon


class OwnNorm(nn.Module):
    """Llama's arithmetic in other words, under another name."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = 1e-5

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        wide = values.float()
        scaled = wide * torch.rsqrt(torch.mean(wide**2, dim=-1, keepdim=True) + self.eps)
        return scaled.to(values.dtype) * self.weight


class LateRoundingNorm(OwnNorm):
    """Rounds to half precision behind the weight instead of before it."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        wide = values.float()
        scaled = wide * torch.rsqrt(torch.mean(wide**2, dim=-1, keepdim=True) + self.eps)
        return (scaled * self.weight.float()).to(values.dtype)


class NoSlopeNorm(OwnNorm):
    """The same output; the gradient does not go through the scale."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        wide = values.float()
        scale = torch.rsqrt(torch.mean(wide**2, dim=-1, keepdim=True) + self.eps).detach()
        return (wide * scale).to(values.dtype) * self.weight


class GatedNorm(OwnNorm):
    """The same output for one input; the model may give it two."""

    def forward(self, values: torch.Tensor, gate: torch.Tensor | None = None) -> torch.Tensor:
        made = super().forward(values)
        return made if gate is None else made * gate


@pytest.mark.parametrize("kind", [LlamaRMSNorm, MistralRMSNorm, Phi3RMSNorm, Qwen2RMSNorm, OwnNorm])
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_norms_that_give_the_same_are_accepted(kind: Any, device: str) -> None:
    with torch.device(device):
        norm = kind(8)
    assert computes_rms_norm(norm)


@pytest.mark.parametrize(
    "make",
    [
        lambda: GemmaRMSNorm(8),
        lambda: ShiftedRMSNorm(8),
        WithBiasRMSNorm,
        lambda: OtherEpsilonRMSNorm(8),
        lambda: LateRoundingNorm(8),
        lambda: NoSlopeNorm(8),
        lambda: GatedNorm(8),
        lambda: T5LayerNorm(8),
        lambda: nn.LayerNorm(8),
        lambda: nn.LayerNorm(8, bias=False),
        lambda: nn.RMSNorm(8),
        lambda: nn.Linear(8, 1, bias=False),
    ],
)
def test_other_norms_stay(make: Any) -> None:
    assert not computes_rms_norm(make())


def test_a_norm_whose_gradient_is_watched_stays() -> None:
    """A hook would be lost with the module."""
    norm = LlamaRMSNorm(8)
    norm.register_forward_hook(lambda *_: None)
    assert not computes_rms_norm(norm)


def test_probing_changes_nothing() -> None:
    norm, state = LlamaRMSNorm(8), torch.get_rng_state()
    weight = norm.weight
    assert computes_rms_norm(norm)
    assert norm.weight is weight and weight.equal(torch.ones(8)) and weight.grad is None
    assert torch.get_rng_state().equal(state)


def test_a_norm_keeps_its_weight_name_and_mode() -> None:
    norm = LlamaRMSNorm(8, eps=0.5).eval()
    with torch.no_grad():
        norm.weight.copy_(torch.randn(8))
    fused = FusedRMSNorm(norm)
    assert fused.weight is norm.weight and not fused.training
    assert list(fused.state_dict()) == list(norm.state_dict())
    values = torch.randn(3, 8)
    assert fused(values).equal(norm(values))


def test_a_models_norms_become_one_operation_each() -> None:
    network = make_network("llama")
    twin, names = copy.deepcopy(network), list(network.state_dict())
    arrange(network, "cpu")
    kinds = [type(module) for module in network.modules()]
    assert LlamaRMSNorm not in kinds
    assert kinds.count(FusedRMSNorm) == sum(isinstance(module, LlamaRMSNorm) for module in twin.modules()) > 0
    assert list(network.state_dict()) == names
