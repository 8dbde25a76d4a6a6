"""On real weights, fast arithmetic in bf16 is as near to fp32 as the model's own, and faults are still seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from burnish.kernels.attention import NAME
from burnish.models.fast_paths import FusedRMSNorm, install_fast_paths
from burnish.models.probe import Probe
from tests.unit.models.faults import FAULTS

pytestmark = pytest.mark.slow


@pytest.fixture
def network(real_model: Callable[[str], Path]) -> Any:
    """SmolLM2 in bf16."""
    return transformers.AutoModelForCausalLM.from_pretrained(real_model("smollm2"), dtype=torch.bfloat16)


def test_every_part_is_installed(network: Any) -> None:
    assert install_fast_paths(network) == []
    assert network.config._attn_implementation == NAME
    assert any(isinstance(module, FusedRMSNorm) for module in network.modules())
    assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(fault: str, network: Any) -> None:
    probe = Probe(network)
    assert probe.fault(network) is None
    FAULTS[fault](network)
    found = probe.fault(network)
    assert found is not None
    assert "Against fp32" in found


def test_an_encoder_too(real_model: Callable[[str], Path]) -> None:
    network = transformers.AutoModel.from_pretrained(real_model("minilm"), dtype=torch.bfloat16)
    assert install_fast_paths(network) == []
    assert network.config._attn_implementation == NAME
