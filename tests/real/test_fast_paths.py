"""On real weights, fast arithmetic in bf16 is as near to fp32 as the model's own, and faults are still seen."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from burnish.data.files.passages import read_passages
from burnish.kernels.attention import NAME
from burnish.models.fast_paths import FusedRMSNorm, install_fast_paths
from burnish.models.probe import Probe
from tests.tiny_adapters import with_adapter
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


TARGETS = ["q_proj", "v_proj", "gate_proj", "down_proj"]
LENGTHS = (40, 25, 63)


def packed_rows(tokenizer: Any) -> list[torch.Tensor]:
    """`[1, tokens]` each: a few rows that pack beginnings of real texts."""
    texts = [tokenizer(record.text).input_ids for record in read_passages("bundled")]
    longest = sorted(texts, key=len)[-4 * len(LENGTHS) :]
    rows = [longest[begin : begin + len(LENGTHS)] for begin in range(0, len(longest), len(LENGTHS))]
    cut = [[token for text, length in zip(row, LENGTHS, strict=True) for token in text[:length]] for row in rows]
    return [torch.tensor([row]) for row in cut]


def adapter_gradients(network: Any, rows: list[torch.Tensor], is_fused: bool) -> list[torch.Tensor]:
    """Of each row in turn, with adapters that already change the output."""
    tuned = with_adapter(network, TARGETS, is_fused, rank=8, spread=0.02)
    positions = torch.cat([torch.arange(length) for length in LENGTHS])[None]
    gradients = []
    for ids in rows:
        tuned.zero_grad()
        tuned(input_ids=ids, position_ids=positions, labels=ids, use_cache=False).loss.backward()
        gradients += [weight.grad.float() for weight in tuned.parameters() if weight.grad is not None]
    return gradients


def test_gradients_of_fused_layers_are_as_near_to_fp32(real_model: Callable[[str], Path]) -> None:
    """All together, and of the worst single matrix. How bf16 rounds is chance: of a single row either may be further
    off by a fifth."""

    def load(dtype: torch.dtype) -> Any:
        return transformers.AutoModelForCausalLM.from_pretrained(real_model("smollm2"), dtype=dtype)

    rows = packed_rows(transformers.AutoTokenizer.from_pretrained(real_model("smollm2")))
    exact = adapter_gradients(load(torch.float32), rows, False)
    plain = adapter_gradients(load(torch.bfloat16), rows, False)
    fused_network = load(torch.bfloat16)
    assert install_fast_paths(fused_network) == []
    assert {type(layer).__name__ for layer in fused_network.modules()} >= {"FusedLlamaMLP", "FusedLlamaAttention"}
    fused = adapter_gradients(fused_network, rows, True)
    errors = [
        [float((one - true).norm() / true.norm()) for one, true in zip(found, exact, strict=True)]
        for found in (plain, fused)
    ]
    assert statistics.mean(errors[1]) <= 1.1 * statistics.mean(errors[0])
    assert max(errors[1]) <= 1.5 * max(errors[0])
