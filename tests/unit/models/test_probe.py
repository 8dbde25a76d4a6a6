"""A probe sees what changes a model, in fp32 and in 16 bits, and compares with the same weights in fp32."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from burnish.kernels.attention import NAME
from burnish.models import fast_paths
from burnish.models.fast_paths import FusedRMSNorm, install_fast_paths
from burnish.models.probe import Probe, _in_fp32
from tests.tiny_models import make_network
from tests.unit.models.faults import FAULTS
from tests.unit.models.tiny_families import make_family, packed_inputs, plain_inputs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(fault: str, dtype: torch.dtype) -> None:
    network = make_network("llama").to(dtype)
    probe = Probe(network)
    assert probe.fault(network) is None
    FAULTS[fault](network)
    assert probe.fault(network) is not None


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "bert", "t5"])
def test_a_model_in_16_bits_computes_in_fp32_for_once(name: str) -> None:
    """To the bit as a copy in fp32, and every weight is afterwards what it was, in the same memory."""
    network = make_family(name).bfloat16()
    before = {key: (weight.data_ptr(), weight.clone()) for key, weight in network.state_dict().items()}
    for inputs in (plain_inputs(name), *([packed_inputs()] if name in ("gpt2", "llama") else [])):
        with torch.no_grad():
            expected = copy.deepcopy(network).float()(**inputs)[0]
            rounded = network(**inputs)[0]
            with _in_fp32(network):
                found = network(**inputs)[0]
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)
        assert not torch.equal(found, rounded.float())
    after = network.state_dict()
    assert all(after[key].data_ptr() == place and after[key].equal(value) for key, (place, value) in before.items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_weights_are_restored_where_the_model_fails() -> None:
    network = make_network("llama").bfloat16()
    with _in_fp32(network), pytest.raises(IndexError):
        network(input_ids=torch.tensor([[10**6]]))
    assert {weight.dtype for weight in network.parameters()} == {torch.bfloat16}


def test_a_refused_part_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class WrongNorm(FusedRMSNorm):
        """Adds one to the weight."""

        def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
            return super().forward(hidden_states) * 2

    monkeypatch.setattr(fast_paths, "FusedRMSNorm", WrongNorm)
    network = make_network("llama").bfloat16()
    norms = [type(module) for module in network.modules() if "Norm" in type(module).__name__]
    (note,) = install_fast_paths(network)
    assert note.startswith(fast_paths._NOT_INSTALLED["norms"])
    assert "Against fp32 the error of the output would be" in note
    assert network.config._attn_implementation == NAME
    assert [type(module) for module in network.modules() if "Norm" in type(module).__name__] == norms


def test_a_model_whose_own_output_is_not_finite_is_left_alone() -> None:
    network = make_network("llama").bfloat16()
    nn.init.constant_(network.model.norm.weight, float("nan"))
    assert len(install_fast_paths(network)) == 3
    assert network.config._attn_implementation == "sdpa"


def outputs_of(network: Any) -> torch.Tensor:
    with torch.no_grad():
        return network(**plain_inputs("llama")).logits


def test_probing_changes_nothing() -> None:
    network = make_network("llama").bfloat16().train()
    before = outputs_of(network)
    Probe(network)
    assert network.training
    assert torch.equal(outputs_of(network), before)
