"""Queries, keys and values with rotary embeddings in one operation are what the single operations compute."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from burnish.kernels.adapted import Adapted
from burnish.kernels.rotary import rotated_heads, rotated_heads_reference
from tests.unit.kernels.comparison import (
    assert_as_exact,
    assert_near,
    assert_no_less_exact,
    random,
    values_and_gradients,
)

WIDTH, SIZE, HEADS, KEY_HEADS, RANK, SCALE = 16, 8, 4, 2, 3, 1.7
ADAPTED = {"none": (), "query-value": (0, 2), "key": (1,), "all": (0, 1, 2)}


def made_up(
    rows: int, width: int, dtype: torch.dtype, adapted: tuple[int, ...] = (0, 1, 2), *, bias: bool = False
) -> list[torch.Tensor | None]:
    """Inputs, and four tensors for each of the three layers."""
    made: list[torch.Tensor | None] = [random(rows, width, WIDTH, dtype=dtype, seed=1)]
    for index, heads in enumerate((HEADS, KEY_HEADS, KEY_HEADS)):
        made.append((random(heads * SIZE, WIDTH, seed=10 + index, trained=False) * WIDTH**-0.5).to(dtype))
        made.append(random(heads * SIZE, dtype=dtype, seed=20 + index, trained=False) if bias else None)
        has_adapter = index in adapted
        made.append(random(RANK, WIDTH, dtype=dtype, seed=30 + index) if has_adapter else None)
        made.append(random(heads * SIZE, RANK, dtype=dtype, seed=40 + index) if has_adapter else None)
    return made


def turns(rows: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines whose halves differ, as no model has them, but as the formula allows."""
    cosine, sine = random(2, rows, width, SIZE, seed=5, trained=False)
    return cosine, sine


def way(function: Any, rows: int, width: int) -> Any:
    """All three results in one, and separate tensors as arguments."""

    def run(inputs: torch.Tensor, *tensors: torch.Tensor | None) -> torch.Tensor:
        layers: Any = [Adapted(*tensors[begin : begin + 4], SCALE) for begin in (0, 4, 8)]  # type: ignore[arg-type]
        cosine, sine = (one.to(inputs.dtype) for one in turns(rows, width))
        return torch.cat(function(inputs, cosine, sine, *layers), 1)

    return run


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("adapted", ADAPTED.values(), ids=ADAPTED)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize(("rows", "width", "turned"), [(1, 5, 1), (3, 4, 3), (3, 4, 1)])
def test_it_is_the_single_operations(
    rows: int, width: int, turned: int, bias: bool, adapted: tuple[int, ...], dtype: torch.dtype
) -> None:
    """Also where all rows share their positions."""
    inputs = made_up(rows, width, dtype, adapted, bias=bias)
    upstream = random(rows, HEADS + 2 * KEY_HEADS, width, SIZE, seed=9, trained=False)
    compare = assert_as_exact if dtype == torch.float32 else assert_no_less_exact
    compare(way(rotated_heads, turned, width), way(rotated_heads_reference, turned, width), inputs, upstream)


def test_the_reference_is_transformers_own() -> None:
    inputs = made_up(2, 5, torch.float32, ())
    layers: Any = [Adapted(*inputs[begin : begin + 4]) for begin in (1, 5, 9)]  # type: ignore[arg-type]
    cosine, sine = turns(2, 5)
    query, key, value = rotated_heads_reference(inputs[0], cosine, sine, *layers)  # type: ignore[arg-type]
    plain = [(inputs[0] @ layer.weight.T).view(2, 5, -1, SIZE).transpose(1, 2) for layer in layers]
    assert_near([query, key], list(apply_rotary_pos_emb(plain[0], plain[1], cosine, sine)), 1e-6)
    assert torch.equal(value, plain[2])


def test_frozen_weights_get_no_gradient_and_nothing_is_changed() -> None:
    inputs = made_up(2, 5, torch.float32, bias=True)
    before = [None if one is None else one.detach().clone() for one in inputs]
    way(rotated_heads, 2, 5)(*inputs).sum().backward()
    for one, two in zip(inputs, before, strict=True):
        assert one is not None
        assert two is not None
        assert torch.equal(one, two)
        assert (one.grad is None) == (not one.requires_grad)


def test_an_unused_result_has_no_gradient() -> None:
    """Here the values; their gradient counts as zero."""
    inputs = made_up(1, 5, torch.float32)

    def queries(function: Any) -> Any:
        return lambda *given: way(function, 1, 5)(*given)[:, :HEADS]

    ways = [values_and_gradients(queries(one), inputs) for one in (rotated_heads, rotated_heads_reference)]
    assert_near(*ways, 1e-5)
