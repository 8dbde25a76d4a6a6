"""Norms are replaced where their code is Llama's, and only there."""

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

from burnish.models.fast_paths import FusedRMSNorm, arrange, is_llamas_norm
from tests.tiny_models import make_network


class ShiftedRMSNorm(LlamaRMSNorm):
    """Llama's name and shape, and other arithmetic."""

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return super().forward(hidden_states) + 1


class WithBiasRMSNorm(LlamaRMSNorm):
    """Llama's code, and a parameter that it does not read."""

    def __init__(self) -> None:
        super().__init__(8)
        self.bias = nn.Parameter(torch.zeros(8))


@pytest.mark.parametrize("kind", [LlamaRMSNorm, MistralRMSNorm, Phi3RMSNorm, Qwen2RMSNorm])
def test_copies_of_llamas_norm_are_known(kind: Any) -> None:
    assert is_llamas_norm(kind(8))


@pytest.mark.parametrize("make", [lambda: GemmaRMSNorm(8), lambda: ShiftedRMSNorm(8), WithBiasRMSNorm,
                                  lambda: nn.RMSNorm(8), lambda: nn.LayerNorm(8)])  # fmt: skip
def test_other_norms_stay(make: Any) -> None:
    assert not is_llamas_norm(make())


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
