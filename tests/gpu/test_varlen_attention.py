"""On CUDA, every kernel that can be had computes packed rows as plain attention with a mask does."""

from __future__ import annotations

import copy

import pytest
import torch

from burnish.kernels import varlen_attention
from burnish.kernels.packed_attention import packed_attention_reference
from burnish.kernels.segments import Segments
from burnish.kernels.varlen_attention import (
    DENSE,
    FLASH,
    FLEX,
    TORCH,
    available_kernels,
    candidates,
    chosen_kernel,
    first_correct,
)
from burnish.models.fast_paths import install_fast_paths
from tests.unit.kernels.comparison import distance
from tests.unit.kernels.test_segments import borders_of
from tests.unit.models.tiny_families import make_family, packed_inputs

pytestmark = pytest.mark.gpu
ROWS = [[300, 1, 211], [64, 128, 320], [512]]
TOLERANCES = {torch.float32: 1e-3, torch.float16: 5e-3, torch.bfloat16: 2e-2}
WAYS = {
    FLASH: varlen_attention.flash_way,
    TORCH: varlen_attention.torch_way,
    FLEX: varlen_attention.flex_way,
    DENSE: varlen_attention.dense_way,
}


def inputs_of(heads: int, shared: int, size: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """Query, key and value on the GPU, laid out by token as projections make them."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(len(ROWS), 512, number, size) for number in (heads, shared, shared)]
    drawn = [torch.randn(shape, generator=generator).to("cuda", dtype) for shape in shapes]
    return [one.transpose(1, 2).requires_grad_() for one in drawn]


def outcome(way: varlen_attention.Way, inputs: list[torch.Tensor], segments: Segments) -> list[torch.Tensor]:
    """Output and gradients."""
    query, key, value = inputs
    output = way(query, key, value, query.shape[-1] ** -0.5, segments)
    upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to("cuda", output.dtype)
    return [output.detach(), *torch.autograd.grad(output, inputs, upstream)]


@pytest.mark.parametrize("dtype", TOLERANCES)
@pytest.mark.parametrize(("heads", "shared", "size"), [(8, 2, 64), (4, 4, 128), (6, 2, 128), (2, 1, 256), (4, 2, 80)])
def test_every_way_that_can_be_tried_is_right(heads: int, shared: int, size: int, dtype: torch.dtype) -> None:
    device = torch.device("cuda", 0)
    segments = Segments(borders_of(ROWS), device, 0)
    inputs = inputs_of(heads, shared, size, dtype)
    exact = outcome(packed_attention_reference, [one.detach().float().requires_grad_() for one in inputs], segments)
    names = candidates(dtype, size, available_kernels(device))
    assert names[-1] == DENSE
    for name in names:
        made = outcome(WAYS[name], inputs, segments)
        assert [one.dtype for one in made] == [dtype] * 4, name
        assert max(distance(one, two) for one, two in zip(made, exact, strict=True)) <= TOLERANCES[dtype], name
        assert first_correct([name], device, dtype, (heads, shared, size)) == name
    assert chosen_kernel(*inputs[:2]) == names[0]


@pytest.mark.parametrize("name", ["llama", "qwen2", "gpt2"])
def test_models_with_fast_paths_are_as_without_them(name: str) -> None:
    plain = make_family(name).to("cuda")
    fast = copy.deepcopy(plain)
    assert install_fast_paths(fast) == []
    assert fast.config._attn_implementation == varlen_attention.VARLEN
    inputs = {key: one.to("cuda") if isinstance(one, torch.Tensor) else one for key, one in packed_inputs().items()}
    for arithmetic, allowed in ((torch.float32, 1e-4), (torch.bfloat16, 2e-2)):
        with torch.autocast("cuda", arithmetic, enabled=arithmetic != torch.float32):
            assert distance(fast(**inputs).logits, plain(**inputs).logits) <= allowed
