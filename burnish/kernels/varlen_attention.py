"""Attention over examples packed into rows, on CUDA: by the best kernel that is there and shown to be right.

FlashAttention's and torch's kernels of variable length are told where examples begin and look at each alone; flex
attention, which also computes fp32, is told which blocks of a row have anything to see. Each has been compared with
plain attention on the device before it is used.
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn import functional

from burnish.kernels.packed_attention import packed_attention_reference
from burnish.kernels.precision import arithmetic_type
from burnish.kernels.segments import Segments

BLOCK = 128
"""Side of the blocks that flex attention leaves out or computes as a whole."""


def block_mask(segments: Segments, rows: int) -> Any:
    """The examples as flex attention wants them: which blocks of a row see which; made once for all layers.

    Args:
        segments: of the rows.
        rows: how many.
    """
    from torch.nn.attention.flex_attention import BlockMask  # brings the compiler along

    def make() -> Any:
        begins = segments.begins(rows)
        width = begins.shape[1]
        edges = torch.arange(0, width, BLOCK, device=begins.device)
        first = begins[:, edges, None]
        last = begins[:, (edges + BLOCK - 1).clamp(max=width - 1), None]
        is_earlier = edges < edges[:, None]
        is_inside = (edges[:, None] + BLOCK <= width) & is_earlier
        whole = is_inside & (edges >= last)  # both blocks lie within one example
        part = (is_earlier | (edges == edges[:, None])) & (edges + BLOCK > first) & ~whole

        def sees(row: Any, head: Any, token: Any, other: Any) -> Any:
            return (other <= token) & (other >= begins[row, token])

        return BlockMask.from_kv_blocks(
            *_ordered(part), *_ordered(whole), BLOCK_SIZE=BLOCK, mask_mod=sees, seq_lengths=(width, width)
        )

    return segments.once(("blocks", rows), make)


def _ordered(chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of `[rows, blocks, blocks]` bool: how many are chosen of each line, and their numbers before all others."""
    chosen = chosen[:, None].int()
    numbers = chosen.argsort(dim=-1, descending=True, stable=True)
    return chosen.sum(-1, dtype=torch.int32), numbers.int().contiguous()


VARLEN = "burnish-varlen"
"""What transformers knows this attention by."""
FLASH, TORCH, FLEX, DENSE = "flash", "torch", "flex", "dense"
_HALF = (torch.float16, torch.bfloat16)
_LARGEST, _EIGHTS, _SMALLEST_FLEX = 256, 8, 16
"""Sizes of heads: the kernels of variable length compute up to 256, torch's own only multiples of 8 (`flash_api.cpp` of
PyTorch 2.11); flex attention 16 and more (`torch/_inductor/kernel/flex/flex_attention.py`)."""
_ROUNDING, _ROUNDING_HALF = 1e-3, 0.03
"""Relative distance of two ways that are the same but for rounding; fp32 may be rounded to TF32's 10 bits."""

Way = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float, Segments], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Offer:
    """What there is on a device."""

    has_flash: bool
    """The package flash_attn."""
    has_varlen: bool
    """torch's kernel of variable length."""
    has_flex: bool
    """Triton, which flex attention is compiled with."""
    is_ampere: bool
    """Compute capability 8.0 or more, which FlashAttention 2 needs (arXiv 2307.08691 is written for it)."""


def varlen_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, segments: Segments
) -> torch.Tensor:
    """What `packed_attention` computes, by the way chosen for the device; tensors without numbers go torch's way.

    Args:
        query: `[rows, heads, width, size]`.
        key: `[rows, key heads, width, size]`.
        value: the same.
        scale: of the scores.
        segments: of the rows.

    Returns:
        `[rows, heads, width, size]`.
    """
    dtype = arithmetic_type(query)
    with torch.autocast(query.device.type, enabled=False):
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
        return _WAYS[chosen_way(query, key)](query, key, value, scale, segments)


def candidates(dtype: torch.dtype, size: int, offer: Offer) -> list[str]:
    """Ways that can be tried for heads of a size, the best one first; the last one always works."""
    is_fit = dtype in _HALF and size <= _LARGEST and offer.is_ampere
    found = {
        FLASH: is_fit and offer.has_flash,
        TORCH: is_fit and offer.has_varlen and size % _EIGHTS == 0,
        FLEX: offer.has_flex and size >= _SMALLEST_FLEX,
        DENSE: True,
    }
    return [name for name, is_there in found.items() if is_there]


_chosen: dict[tuple[Any, ...], str] = {}


def chosen_way(query: torch.Tensor, key: torch.Tensor) -> str:
    """The name of the way, found out once for each device, type and shape of heads.

    Args:
        query: `[rows, heads, width, size]`, in the type of the arithmetic.
        key: `[rows, key heads, width, size]`.
    """
    if query.device.type != "cuda":
        return TORCH if isinstance(query, FakeTensor) else DENSE
    heads, shared, size = query.shape[1], key.shape[1], query.shape[3]
    asked = (query.device, query.dtype, heads, shared, size)
    if asked not in _chosen:
        names = candidates(query.dtype, size, offer_of(query.device))
        find: Any = torch.compiler.disable(first_right)
        _chosen[asked] = find(names, query.device, query.dtype, (heads, shared, size))
    return _chosen[asked]


def ways_on(device: torch.device) -> set[str]:
    """Names of the ways that were chosen on a device so far."""
    return {way for asked, way in _chosen.items() if asked[0] == device}


def offer_of(device: torch.device) -> Offer:
    """What there is on a CUDA device."""
    return Offer(
        has_flash=importlib.util.find_spec("flash_attn") is not None,
        has_varlen=importlib.util.find_spec("torch.nn.attention.varlen") is not None,
        has_flex=importlib.util.find_spec("triton") is not None,
        is_ampere=torch.cuda.get_device_capability(device) >= (8, 0),
    )


def first_right(
    names: Sequence[str],
    device: torch.device,
    dtype: torch.dtype,
    shape: tuple[int, int, int],
    ways: dict[str, Way] | None = None,
) -> str:
    """The first way whose output and gradients on made-up examples are those of plain attention.

    Args:
        names: of ways.
        device: to try them on.
        dtype: of the arithmetic.
        shape: heads, key heads and size.
        ways: by name; None for those of this file.
    """
    ways = _WAYS if ways is None else ways
    expected = _outcome(packed_attention_reference, device, torch.float32, shape)
    allowed = _ROUNDING if dtype == torch.float32 else _ROUNDING_HALF
    for name in names:
        try:
            made = _outcome(ways[name], device, dtype, shape)
        except (RuntimeError, TypeError, ValueError, ImportError, OSError, AttributeError, AssertionError):
            continue  # a package built for another torch, a kernel that the GPU is too old for
        near = [(one - two).norm() <= allowed * two.norm() for one, two in zip(made, expected, strict=True)]
        if all(near):
            return name
    return DENSE


def _outcome(way: Way, device: torch.device, dtype: torch.dtype, shape: tuple[int, int, int]) -> list[torch.Tensor]:
    """Output and gradients in fp32, of two rows with five examples, whatever mode the caller computes in."""
    heads, shared, size = shape
    rows, borders = 2, [(0, 70), (70, 83), (83, 160), (160, 161), (161, 320)]
    segments = Segments(borders, device, 0)

    def drawn(count: int, seed: int) -> torch.Tensor:
        numbers = torch.randn(rows, 160, count, size, generator=torch.Generator().manual_seed(seed))
        return numbers.to(device, dtype).transpose(1, 2).requires_grad_()

    # turning inference mode off turns gradients on
    with torch.inference_mode(False), torch.autograd.graph.saved_tensors_hooks(_same, _same):
        query, key, value = drawn(heads, 0), drawn(shared, 1), drawn(shared, 2)
        output = way(query, key, value, size**-0.5, segments)
        upstream = drawn(heads, 3).detach().to(output.dtype)
        gradients = torch.autograd.grad(output, [query, key, value], upstream)
    return [one.detach().float() for one in (output, *gradients)]


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def flash_way(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, segments: Segments, kernel: Any = None
) -> torch.Tensor:
    """By `flash_attn_varlen_func` of the package flash_attn (arXiv 2307.08691), or by a `kernel` that is called so."""
    offsets, longest = segments.offsets(), segments.longest
    made = (kernel or _flash_kernel())(
        *(_by_token(one) for one in (query, key, value)),
        cu_seqlens_q=offsets,
        cu_seqlens_k=offsets,
        max_seqlen_q=longest,
        max_seqlen_k=longest,
        softmax_scale=scale,
        causal=True,
    )
    return _by_head(made, query.shape)


def torch_way(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, segments: Segments, kernel: Any = None
) -> torch.Tensor:
    """By `torch.nn.attention.varlen.varlen_attn`, or by a `kernel` that is called so."""
    offsets, longest = segments.offsets(), segments.longest
    made = (kernel or _torch_kernel())(
        *(_by_token(one) for one in (query, key, value)),
        cu_seq_q=offsets,
        cu_seq_k=offsets,
        max_q=longest,
        max_k=longest,
        scale=scale,
        window_size=(-1, 0),  # any number of earlier tokens, no later one
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return _by_head(made, query.shape)


def flex_way(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, segments: Segments, kernel: Any = None
) -> torch.Tensor:
    """By `torch.nn.attention.flex_attention.flex_attention`, compiled, or by a `kernel` that is called so."""
    groups = query.shape[1] // key.shape[1]
    if groups & (groups - 1):  # keys are shared among a power of two of heads, or else not at all
        key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    made = (kernel or _flex_kernel())(
        query,
        key,
        value,
        block_mask=block_mask(segments, query.shape[0]),
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return made.transpose(1, 2).contiguous().transpose(1, 2)


def dense_way(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, segments: Segments
) -> torch.Tensor:
    """By torch's attention with a mask over whole rows; keys are repeated, for with fewer of them and a mask, torch
    has but its slowest kernel."""
    groups = query.shape[1] // key.shape[1]
    key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    made = functional.scaled_dot_product_attention(query, key, value, segments.dense(query.shape[0]), scale=scale)
    return made.transpose(1, 2).contiguous().transpose(1, 2)


_WAYS: dict[str, Way] = {FLASH: flash_way, TORCH: torch_way, FLEX: flex_way, DENSE: dense_way}


@functools.cache
def _flash_kernel() -> Any:
    return importlib.import_module("flash_attn").flash_attn_varlen_func


@functools.cache
def _torch_kernel() -> Any:
    """Without the argument for shared keys where torch is too old for it; its kernel shares them all the same."""
    kernel = importlib.import_module("torch.nn.attention.varlen").varlen_attn
    if "enable_gqa" in inspect.signature(kernel).parameters:
        return kernel
    return lambda *given, enable_gqa, **others: kernel(*given, **others)


@functools.cache
def _flex_kernel() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)


def _by_token(tensor: torch.Tensor) -> torch.Tensor:
    """`[rows x width, heads, size]`: in memory as it was, where the numbers of a head lie side by side."""
    tokens = tensor.transpose(1, 2).flatten(0, 1)
    return tokens if tokens.stride(-1) == 1 else tokens.contiguous()


def _by_head(tokens: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """`[rows x width, heads, size]` as `[rows, heads, width, size]`."""
    rows, heads, width, size = shape
    return tokens.view(rows, width, heads, size).transpose(1, 2)
