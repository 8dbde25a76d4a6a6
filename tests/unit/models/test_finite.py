"""Weights that a model cannot compute with are named before it does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from burnish.errors import ModelError
from burnish.models.finite import check_finite
from burnish.models.location import ModelLocation
from tests.tiny_models import make_network

MATRIX, VECTOR = "model.layers.1.mlp.up_proj.weight", "model.layers.1.input_layernorm.weight"


def checked(name: str, value: float, folder: Path, stored: torch.dtype, computed: torch.dtype) -> None:
    """Checks a tiny Llama in which one number of a tensor is another, saved in fp32 and loaded in `stored`."""
    network = make_network("llama")
    with torch.no_grad():
        network.get_parameter(name).view(-1)[7] = value
    network.save_pretrained(str(folder))
    check_finite(network.to(stored), ModelLocation("mine", folder, False), stored, computed)


@pytest.mark.parametrize("name", [MATRIX, VECTOR])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("value", "held"), [(float("nan"), "NaN"), (float("inf"), "infinite values")])
def test_the_tensor_is_named(name: str, dtype: torch.dtype, value: float, held: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"`{name}` has {held}"):
        checked(name, value, tmp_path, dtype, dtype)


@pytest.mark.parametrize("name", [MATRIX, VECTOR])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_number_whose_gradients_no_format_holds_is_damage(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"`{name}` has a value beyond 7e\\+12"):
        checked(name, -4e36, tmp_path, dtype, dtype)


@pytest.mark.parametrize("stored", [torch.float16, torch.float32])
def test_a_number_beyond_fp16_is_not_called_damage(stored: torch.dtype, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"do not fit into fp16: the tensor `{MATRIX}` has a value beyond") as caught:
        checked(MATRIX, 9e4, tmp_path, stored, torch.float16)
    assert "bf16" in caught.value.fix


def test_a_vector_is_not_cast_by_mixed_precision(tmp_path: Path) -> None:
    checked(VECTOR, 9e4, tmp_path, torch.float32, torch.float16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_large_numbers_are_fine_elsewhere(dtype: torch.dtype, tmp_path: Path) -> None:
    checked(MATRIX, 9e4, tmp_path, dtype, dtype)
