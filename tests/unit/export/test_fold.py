"""Folding: the number format that is found in a folder, and the arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from burnish.export.merge import fold, saved_dtype
from tests.tiny_models import make_network
from tests.tiny_training import with_method


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_format_of_most_weights_counts(dtype: torch.dtype, tmp_path: Path) -> None:
    others = [other for other in (torch.float32, torch.bfloat16, torch.float16) if other != dtype]
    save_file(
        {"large": torch.zeros(50, dtype=dtype), "ids": torch.zeros(900, dtype=torch.int64)}, tmp_path / "a.safetensors"
    )
    save_file(
        {f"b{number}": torch.zeros(30, dtype=other) for number, other in enumerate(others)}, tmp_path / "b.safetensors"
    )
    assert saved_dtype(tmp_path) == dtype


def test_without_safetensors_it_is_fp32(tmp_path: Path) -> None:
    assert saved_dtype(tmp_path) == torch.float32


@pytest.mark.parametrize("layout", ["llama", "gpt2", "qwen2"])
def test_the_folded_network_is_plain_and_computes_the_same(layout: str) -> None:
    network = make_network(layout)
    dtypes = {name: parameter.dtype for name, parameter in network.named_parameters()}
    tuned = with_method(network, "lora").eval()
    ids = torch.arange(3, 23)[None]
    expected = tuned(input_ids=ids).logits
    plain = fold(tuned, dtypes)
    assert type(plain).__module__.startswith("transformers.")
    assert {name for name, _ in plain.named_parameters()} == dtypes.keys()
    assert not any(parameter.requires_grad for parameter in plain.parameters())
    assert torch.allclose(plain(input_ids=ids).logits, expected, atol=1e-4)
    assert not torch.allclose(make_network(layout)(input_ids=ids).logits, expected, atol=1e-2)
