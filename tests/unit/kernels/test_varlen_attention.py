"""The ways of CUDA hand the right tensors to their kernels, and only a kernel that is right is chosen.

The kernels themselves need a GPU (`tests/gpu`); here, others that are called in the same way take their place.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.nn.attention.flex_attention import create_block_mask, create_mask, flex_attention
from torch.nn.attention.varlen import varlen_attn

from burnish.kernels.packed_attention import packed_attention_reference
from burnish.kernels.segments import Segments
from burnish.kernels.varlen_attention import (
    DENSE,
    FLASH,
    FLEX,
    TORCH,
    Offer,
    block_mask,
    candidates,
    chosen_kernel,
    dense_way,
    first_correct,
    flash_way,
    flex_way,
    kernels_on,
    torch_way,
    varlen_attention,
)
from burnish.plan.live_storage import BATCH, LiveStorage
from burnish.plan.roofline import Work, bytes_inside
from tests.unit.kernels.comparison import assert_as_exact, assert_near, random, values_and_gradients
from tests.unit.kernels.test_attention import MIXED, inputs_of, upstream_of
from tests.unit.kernels.test_segments import CPU, ROWS, borders_of

SCALE = 0.3
HEADS = [(8, 2), (4, 4), (6, 2), (3, 1)]


def segments_of(rows: list[list[int]]) -> Segments:
    return Segments(borders_of(rows), CPU, 0)


def attend_alone(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, offsets: torch.Tensor, longest: int, scale: float
) -> torch.Tensor:
    """`[tokens, heads, size]`: each example between two offsets by itself, as the kernels compute it."""
    assert offsets.dtype == torch.int32
    assert (offsets[0], offsets[-1]) == (0, len(query))
    assert longest == offsets.diff().max() and type(longest) is int
    assert all(one.stride(-1) == 1 and one.ndim == 3 for one in (query, key, value))
    made = []
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        parts = (one[begin:end].transpose(0, 1)[None] for one in (query, key, value))
        output = functional.scaled_dot_product_attention(*parts, is_causal=True, scale=scale, enable_gqa=True)
        made.append(output[0].transpose(0, 1))
    return torch.cat(made)


def like_flash(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **named: Any) -> torch.Tensor:
    """Called as `flash_attn.flash_attn_varlen_func` is."""
    offsets, longest, scale = named["cu_seqlens_q"], named["max_seqlen_q"], named["softmax_scale"]
    same = {"cu_seqlens_q": offsets, "cu_seqlens_k": offsets, "max_seqlen_q": longest, "max_seqlen_k": longest}
    assert named == {**same, "softmax_scale": scale, "causal": True}
    return attend_alone(query, key, value, offsets, longest, scale)


def like_torch(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **named: Any) -> torch.Tensor:
    """Called as `torch.nn.attention.varlen.varlen_attn` is."""
    assert named.keys() <= inspect.signature(varlen_attn).parameters.keys()
    offsets, longest, scale = named["cu_seq_q"], named["max_q"], named["scale"]
    shares = query.shape[1] != key.shape[1]
    same = {"cu_seq_q": offsets, "cu_seq_k": offsets, "max_q": longest, "max_k": longest}
    assert named == {**same, "scale": scale, "window_size": (-1, 0), "enable_gqa": shares}
    return attend_alone(query, key, value, offsets, longest, scale)


def like_flex(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, block_mask: Any, scale: float, enable_gqa: bool
) -> torch.Tensor:
    """Called as `flex_attention` is, which has no backward pass on the CPU."""
    groups = query.shape[1] // key.shape[1]
    assert enable_gqa == (groups > 1) and groups & (groups - 1) == 0
    rows, width = query.shape[0], query.shape[2]
    mask = create_mask(block_mask.mask_mod, rows, None, width, width, device="cpu")
    return functional.scaled_dot_product_attention(query, key, value, mask, scale=scale, enable_gqa=enable_gqa)


WAYS = {
    FLASH: lambda *given: flash_way(*given, kernel=like_flash),
    TORCH: lambda *given: torch_way(*given, kernel=like_torch),
    FLEX: lambda *given: flex_way(*given, kernel=like_flex),
    DENSE: dense_way,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("heads", "shared"), HEADS)
@pytest.mark.parametrize("rows", [ROWS, MIXED, [[80]]], ids=lambda rows: str(sum(rows[0])))
@pytest.mark.parametrize("way", WAYS)
def test_every_way_is_attention_with_a_mask(
    way: str, rows: list[list[int]], heads: int, shared: int, dtype: torch.dtype
) -> None:
    segments, width = segments_of(rows), sum(rows[0])
    assert_as_exact(
        lambda *given: WAYS[way](*given, SCALE, segments),
        lambda *given: packed_attention_reference(*given, SCALE, segments),
        inputs_of(len(rows), width, 16, dtype, heads, shared),
        upstream_of(len(rows), width, 16, heads),
    )


@pytest.mark.parametrize("rows", [MIXED, MIXED[1:2]], ids=["rows", "row"])
@pytest.mark.parametrize("way", WAYS)
def test_the_layout_in_memory_does_not_matter(way: str, rows: list[list[int]]) -> None:
    """A query of every other number, and key and value of one tensor laid out by token."""
    segments, number = segments_of(rows), len(rows)
    wide, together = random(number, 8, 80, 32), random(number, 80, 4 * 16, seed=1)

    def cut(query: torch.Tensor, both: torch.Tensor) -> list[torch.Tensor]:
        return [query[..., ::2], *(one.unflatten(2, (2, 16)).transpose(1, 2) for one in both.chunk(2, 2))]

    assert_as_exact(
        lambda *given: WAYS[way](*cut(*given), SCALE, segments),
        lambda *given: packed_attention_reference(*cut(*given), SCALE, segments),
        [wide, together],
        upstream_of(number, 80),
    )
    assert WAYS[way](*cut(wide, together), SCALE, segments).transpose(1, 2).is_contiguous()


@pytest.mark.parametrize("rows", [ROWS, MIXED, [[130, 70, 200]]], ids=lambda rows: str(sum(rows[0])))
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_torchs_own_flex_attention_forward(rows: list[list[int]]) -> None:
    segments = segments_of(rows)
    inputs = [one.detach() for one in inputs_of(len(rows), sum(rows[0])) if one is not None]
    made = flex_way(*inputs, SCALE, segments, kernel=flex_attention)
    assert_near([made], [packed_attention_reference(*inputs, SCALE, segments)], 1e-5)


_BLOCKS = [
    [[70, 13, 77], [1, 159]],
    [[300, 1, 399]],
    [[128, 512]],
    [[1000]],
    [[127, 129, 256, 1, 127], [640]],
    [[1] * 300],
]


@pytest.mark.parametrize("rows", _BLOCKS, ids=lambda rows: "-".join(map(str, rows[0][:3])))
def test_blocks_are_those_that_torch_finds_in_the_whole_mask(rows: list[list[int]]) -> None:
    segments, number, width = segments_of(rows), len(rows), sum(rows[0])
    made = block_mask(segments, number)
    expected = create_block_mask(made.mask_mod, number, None, width, width, device="cpu")
    for name in ("kv_num_blocks", "full_kv_num_blocks", "q_num_blocks", "full_q_num_blocks"):
        assert torch.equal(getattr(made, name), getattr(expected, name)), name
    assert torch.equal(made.to_dense(), expected.to_dense())
    dense = create_mask(made.mask_mod, number, None, width, width, device="cpu")
    assert torch.equal(dense, segments.dense(number))
    for counts, indices in (("kv_num_blocks", "kv_indices"), ("full_kv_num_blocks", "full_kv_indices")):
        for line, ours, theirs in zip(
            getattr(made, counts).flatten(),
            getattr(made, indices).flatten(0, 2),
            getattr(expected, indices).flatten(0, 2),
            strict=True,
        ):
            assert torch.equal(ours[:line], theirs[:line])


def test_what_depends_on_the_borders_alone_is_made_once() -> None:
    segments = segments_of(MIXED)
    for make in (segments.offsets, lambda: segments.dense(3), lambda: block_mask(segments, 3)):
        assert make() is make()
    assert segments.offsets().tolist() == [0, 30, 31, 40, 80, 81, 82, 89, 122, 160, 240]
    assert segments.longest == 80


ALL = Offer(has_flash=True, has_varlen=True, has_flex=True, is_ampere=True)


@pytest.mark.parametrize(
    ("dtype", "size", "offer", "expected"),
    [
        (torch.bfloat16, 128, ALL, [FLASH, TORCH, FLEX, DENSE]),
        (torch.float16, 256, ALL, [FLASH, TORCH, FLEX, DENSE]),
        (torch.float32, 128, ALL, [FLEX, DENSE]),
        (torch.bfloat16, 257, ALL, [FLEX, DENSE]),
        (torch.bfloat16, 100, ALL, [FLASH, FLEX, DENSE]),
        (torch.bfloat16, 8, ALL, [FLASH, TORCH, DENSE]),
        (torch.float32, 8, ALL, [DENSE]),
        (torch.bfloat16, 64, Offer(False, True, True, True), [TORCH, FLEX, DENSE]),
        (torch.bfloat16, 64, Offer(False, True, False, True), [TORCH, DENSE]),
        (torch.float16, 64, Offer(True, True, True, False), [FLEX, DENSE]),
        (torch.float16, 64, Offer(False, False, False, False), [DENSE]),
    ],
)
def test_what_can_be_tried(dtype: torch.dtype, size: int, offer: Offer, expected: list[str]) -> None:
    assert candidates(dtype, size, offer) == expected


def over_borders(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, segments: Segments
) -> torch.Tensor:
    """Causal, but over whole rows."""
    return functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scale, enable_gqa=True)


def without_gradients(*given: Any) -> torch.Tensor:
    """The right output, and a wrong gradient for the query."""
    query, *others = given
    return WAYS[TORCH](query + (query * 0.1 - (query * 0.1).detach()), *others)


def failing(*given: Any) -> torch.Tensor:
    raise ImportError("undefined symbol")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(4, 2, 16), (3, 3, 128)])
@pytest.mark.parametrize("wrong", [over_borders, without_gradients, failing])
def test_the_first_right_one_is_chosen(wrong: Any, shape: tuple[int, int, int], dtype: torch.dtype) -> None:
    def first(*names: str) -> str:
        return first_correct(names, CPU, dtype, shape, {**WAYS, "wrong": wrong})

    assert first(TORCH, "wrong") == TORCH
    assert first("wrong", FLEX, TORCH) == FLEX
    assert first("wrong", DENSE) == first("wrong") == DENSE


def test_choosing_works_in_any_mode() -> None:
    """Where nothing is differentiated, where what is kept for the backward pass is not kept, and in autocast."""

    def refuse(tensor: Any) -> Any:
        raise AssertionError("the caller's business")

    for mode in (torch.no_grad(), torch.inference_mode(), torch.autograd.graph.saved_tensors_hooks(refuse, refuse)):
        with mode:
            assert first_correct([FLASH], CPU, torch.float32, (4, 2, 16), WAYS) == FLASH


def test_on_the_cpu_numbers_go_by_the_mask() -> None:
    segments, inputs = segments_of(MIXED), inputs_of(3, 80)
    assert chosen_kernel(*inputs[:2]) == DENSE
    assert kernels_on(CPU) == set()
    made = values_and_gradients(lambda *given: varlen_attention(*given, SCALE, segments), inputs)
    expected = values_and_gradients(lambda *given: packed_attention_reference(*given, SCALE, segments), inputs)
    assert_near(made, expected, 1e-5)


def test_in_autocast_it_computes_in_its_type() -> None:
    segments, inputs = segments_of(MIXED), inputs_of(3, 80)
    with torch.autocast("cpu", torch.bfloat16):
        made = varlen_attention(*inputs, SCALE, segments)
    assert made.dtype == torch.bfloat16
    assert_near([made.float()], [packed_attention_reference(*inputs, SCALE, segments)], 1e-2)


@pytest.mark.parametrize(("heads", "shared"), [(8, 2), (4, 4)])
def test_without_numbers_it_takes_the_memory_and_work_of_torchs_kernel(heads: int, shared: int) -> None:
    """Kept from forward to backward: the inputs, the output, and for each head of each token one number in fp32."""
    segments, tokens, size = segments_of(MIXED), 3 * 80, 16
    with FakeTensorMode(allow_non_fake_inputs=True):
        inputs: list[torch.Tensor] = [
            torch.empty(3, 80, number, size, dtype=torch.bfloat16).transpose(1, 2).requires_grad_()
            for number in (heads, shared, shared)
        ]
    work, insides = Work(), []

    def inside(*given: Any) -> int:
        insides.append(bytes_inside(*given))
        return insides[-1]

    storage = LiveStorage(0, work.add, inside)
    storage.begin_phase("run")
    storage.hold(inputs, BATCH)
    given = storage.live
    with storage:
        made = varlen_attention(*inputs, SCALE, segments)
        offsets = 4 * (len(segments.borders) + 1)
        assert storage.live - given == 2 * tokens * heads * size + 4 * tokens * heads + 2 * 8 + offsets
        assert max(insides) == 0
        torch.autograd.grad(made, inputs, torch.empty_like(made))
    squares = sum((end - begin) ** 2 for begin, end in segments.borders)
    assert work.flops == (2 + 5) * 2 * heads * size * squares, "two products forward, five backward"
    padded = tokens + 128 * len(segments.borders)
    repeated = 2 * 2 * tokens * heads * size if heads != shared else 0
    assert max(insides) == 4 * padded * heads * (32 + 1) + repeated
