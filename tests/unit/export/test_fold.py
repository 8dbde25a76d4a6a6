"""Folding: the number format that is found in a folder, and the arithmetic."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from burnish.export.merge import fold, saved_dtype
from burnish.methods import make_method
from burnish.models.heads import Target
from burnish.recipe.schema import LoraSection, Recipe
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


TIED = {
    "output layer": {"targets": ["q_proj", "lm_head"]},
    "embedding": {"targets": ["q_proj", "embed_tokens"]},
    "both": {"targets": ["lm_head", "embed_tokens"]},
    "output layer in full": {"modules_to_save": ["lm_head"]},
    "embedding in full": {"modules_to_save": ["embed_tokens"]},
    "both in full": {"modules_to_save": ["embed_tokens", "lm_head"]},
}


@pytest.mark.parametrize("name", TIED)
def test_an_adapter_on_a_tied_matrix_is_folded_into_a_copy(name: str, tmp_path: Path) -> None:
    """Embedding and output layer share a matrix in the base, and differ once one of them is trained."""
    network = make_network("qwen2")
    assert network.get_input_embeddings().weight is network.get_output_embeddings().weight
    dtypes = {name: weight.dtype for name, weight in network.named_parameters(remove_duplicate=False)}
    recipe = Recipe(lora=LoraSection(rank=4, **TIED[name]))
    tuned = make_method("lora").apply(network, recipe, Target()).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in tuned.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    ids = torch.arange(3, 23)[None]
    expected = tuned(input_ids=ids).logits
    plain = fold(tuned, dtypes)
    assert torch.allclose(plain(input_ids=ids).logits, expected, atol=1e-4)
    plain.save_pretrained(str(tmp_path))
    again = AutoModelForCausalLM.from_pretrained(str(tmp_path)).eval()
    assert torch.allclose(again(input_ids=ids).logits, expected, atol=1e-4)
