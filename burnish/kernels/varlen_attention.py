"""Attention over examples packed into rows, on CUDA: with the best kernel that is available and gives correct results.

The variable-length kernels of FlashAttention and torch take the boundaries of examples and process each separately;
flex attention, which also supports fp32, takes a mask of blocks. Each kernel is compared with plain attention on the
device before it is used.
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
"""Side of the blocks that flex attention computes or skips as a unit."""


def block_mask(segments: Segments, rows: int) -> Any:
    """The block mask of flex attention: which blocks of a row attend to which; built once for all layers.

    Args:
        segments: the examples in the rows. rows: number of rows.
    """
    from torch.nn.attention.flex_attention import BlockMask  # imports the compiler, so not at module level

    def make() -> Any:
        begins = segments.begins(rows)
        width = begins.shape[1]
        edges = torch.arange(0, width, BLOCK, device=begins.device)
        first = begins[:, edges, None]
        last = begins[:, (edges + BLOCK - 1).clamp(max=width - 1), None]
        is_earlier = edges < edges[:, None]
        is_inside = (edges[:, None] + BLOCK <= width) & is_earlier
        full = is_inside & (edges >= last)  # both blocks lie within one example
        part = (is_earlier | (edges == edges[:, None])) & (edges + BLOCK > first) & ~full

        def sees(row: Any, head: Any, token: Any, other: Any) -> Any:
            return (other <= token) & (other >= begins[row, token])

        return BlockMask.from_kv_blocks(
            *_block_lists(part), *_block_lists(full), BLOCK_SIZE=BLOCK, mask_mod=sees, seq_lengths=(width, width)
        )

    return segments.once(("blocks", rows), make)


def _block_lists(chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """From `[rows, blocks, blocks]` bool: the number of chosen blocks per line, and block indices with the chosen ones
    first."""
    chosen = chosen[:, None].int()
    numbers = chosen.argsort(dim=-1, descending=True, stable=True)
    return chosen.sum(-1, dtype=torch.int32), numbers.int().contiguous()


VARLEN = "burnish-varlen"
"""The name under which this attention is registered in transformers."""
FLASH, TORCH, FLEX, DENSE = "flash", "torch", "flex", "dense"
_HALF = (torch.float16, torch.bfloat16)
_LARGEST, _EIGHTS, _SMALLEST_FLEX = 256, 8, 16
"""Head sizes: the variable-length kernels support up to 256, torch's only multiples of 8 (`flash_api.cpp` of PyTorch
2.11); flex attention supports 16 and more (`torch/_inductor/kernel/flex/flex_attention.py`)."""
_ROUNDING, _ROUNDING_HALF = 1e-3, 0.03
"""Largest relative error that rounding explains; fp32 may be rounded to TF32's 10 bits."""

Way = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, float, Segments], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Offer:
    """The kernels available on a device."""

    has_flash: bool
    """Whether the package flash_attn is installed."""
    has_varlen: bool
    """Whether torch has its variable-length kernel."""
    has_flex: bool
    """Whether Triton is installed, which flex attention is compiled with."""
    is_ampere: bool
    """Whether the compute capability is at least 8.0, which FlashAttention 2 needs (arXiv 2307.08691)."""


def varlen_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, segments: Segments
) -> torch.Tensor:
    """Computes `packed_attention` with the kernel chosen for the device; fake tensors use torch's kernel.

    Args:
        query: `[rows, heads, width, size]`.
        key: `[rows, key heads, width, size]`.
        value: same shape as `key`.
        scale: factor of the scores.
        segments: the examples in the rows.

    Returns:
        `[rows, heads, width, size]`.
    """
    dtype = arithmetic_type(query)
    with torch.autocast(query.device.type, enabled=False):
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
        return _WAYS[chosen_kernel(query, key)](query, key, value, scale, segments)


def candidates(dtype: torch.dtype, size: int, offer: Offer) -> list[str]:
    """Kernels to try for a head size, the best one first; the last one always works."""
    is_fit = dtype in _HALF and size <= _LARGEST and offer.is_ampere
    found = {
        FLASH: is_fit and offer.has_flash,
        TORCH: is_fit and offer.has_varlen and size % _EIGHTS == 0,
        FLEX: offer.has_flex and size >= _SMALLEST_FLEX,
        DENSE: True,
    }
    return [name for name, is_there in found.items() if is_there]


_chosen: dict[tuple[Any, ...], str] = {}


def chosen_kernel(query: torch.Tensor, key: torch.Tensor) -> str:
    """The name of the kernel, selected once per device, dtype and head shape.

    Args:
        query: `[rows, heads, width, size]`, in the compute dtype.
        key: `[rows, key heads, width, size]`.
    """
    if query.device.type != "cuda":
        return TORCH if isinstance(query, FakeTensor) else DENSE
    heads, shared, size = query.shape[1], key.shape[1], query.shape[3]
    asked = (query.device, query.dtype, heads, shared, size)
    if asked not in _chosen:
        names = candidates(query.dtype, size, available_kernels(query.device))
        find: Any = torch.compiler.disable(first_correct)
        _chosen[asked] = find(names, query.device, query.dtype, (heads, shared, size))
    return _chosen[asked]


def kernels_on(device: torch.device) -> set[str]:
    """Names of the kernels chosen on a device so far."""
    return {way for asked, way in _chosen.items() if asked[0] == device}


def available_kernels(device: torch.device) -> Offer:
    """The kernels available on a CUDA device."""
    return Offer(
        has_flash=importlib.util.find_spec("flash_attn") is not None,
        has_varlen=importlib.util.find_spec("torch.nn.attention.varlen") is not None,
        has_flex=importlib.util.find_spec("triton") is not None,
        is_ampere=torch.cuda.get_device_capability(device) >= (8, 0),
    )


def first_correct(
    names: Sequence[str],
    device: torch.device,
    dtype: torch.dtype,
    shape: tuple[int, int, int],
    ways: dict[str, Way] | None = None,
) -> str:
    """The first kernel with the output and gradients of plain attention on random examples.

    Args:
        names: names of kernels.
        device: the device to try them on.
        dtype: compute dtype.
        shape: heads, key heads and size.
        ways: kernels by name; None for those of this file.
    """
    ways = _WAYS if ways is None else ways
    expected = _outcome(packed_attention_reference, device, torch.float32, shape)
    allowed = _ROUNDING if dtype == torch.float32 else _ROUNDING_HALF
    for name in names:
        try:
            made = _outcome(ways[name], device, dtype, shape)
        except (RuntimeError, TypeError, ValueError, ImportError, OSError, AttributeError, AssertionError):
            continue  # a package built for another torch version, or a kernel that this GPU does not support
        near = [(one - two).norm() <= allowed * two.norm() for one, two in zip(made, expected, strict=True)]
        if all(near):
            return name
    return DENSE


def _outcome(way: Way, device: torch.device, dtype: torch.dtype, shape: tuple[int, int, int]) -> list[torch.Tensor]:
    """Output and gradients in fp32 of two rows with five examples, whatever grad mode the caller is in."""
    heads, shared, size = shape
    rows, borders = 2, [(0, 70), (70, 83), (83, 160), (160, 161), (161, 320)]
    segments = Segments(borders, device, 0)

    def drawn(count: int, seed: int) -> torch.Tensor:
        numbers = torch.randn(rows, 160, count, size, generator=torch.Generator().manual_seed(seed))
        return numbers.to(device, dtype).transpose(1, 2).requires_grad_()

    # leaving inference mode turns gradients on
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
    """Calls `flash_attn_varlen_func` of the package flash_attn (arXiv 2307.08691), or a `kernel` with the same
    signature."""
    offsets, longest = segments.offsets(), segments.longest
    # its gradients are added in any order unless this is asked for
    fixed = {"deterministic": True} if torch.are_deterministic_algorithms_enabled() else {}
    made = (kernel or _flash_kernel())(
        *(_by_token(one) for one in (query, key, value)),
        cu_seqlens_q=offsets,
        cu_seqlens_k=offsets,
        max_seqlen_q=longest,
        max_seqlen_k=longest,
        softmax_scale=scale,
        causal=True,
        **fixed,
    )
    return _by_head(made, query.shape)


def torch_way(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, segments: Segments, kernel: Any = None
) -> torch.Tensor:
    """Calls `torch.nn.attention.varlen.varlen_attn`, or a `kernel` with the same signature."""
    offsets, longest = segments.offsets(), segments.longest
    made = (kernel or _torch_kernel())(
        *(_by_token(one) for one in (query, key, value)),
        cu_seq_q=offsets,
        cu_seq_k=offsets,
        max_q=longest,
        max_k=longest,
        scale=scale,
        window_size=(-1, 0),  # causal: all earlier tokens, no later ones
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return _by_head(made, query.shape)


def flex_way(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, segments: Segments, kernel: Any = None
) -> torch.Tensor:
    """Calls `torch.nn.attention.flex_attention.flex_attention`, compiled, or a `kernel` with the same signature."""
    groups = query.shape[1] // key.shape[1]
    if groups & (groups - 1):  # flex attention shares keys only among a power of two of heads
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
    """Calls torch's attention with a mask over complete rows. Keys are repeated, because with shared keys and a mask
    torch uses its slowest kernel."""
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
    """torch's kernel; older versions share keys too but do not take the argument `enable_gqa`, which is then
    dropped."""
    kernel = importlib.import_module("torch.nn.attention.varlen").varlen_attn
    if "enable_gqa" in inspect.signature(kernel).parameters:
        return kernel
    return lambda *given, enable_gqa, **others: kernel(*given, **others)


@functools.cache
def _flex_kernel() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)


def _by_token(tensor: torch.Tensor) -> torch.Tensor:
    """`[rows x width, heads, size]`, without a copy if the values of a head are contiguous."""
    tokens = tensor.transpose(1, 2).flatten(0, 1)
    return tokens if tokens.stride(-1) == 1 else tokens.contiguous()


def _by_head(tokens: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """`[rows x width, heads, size]` as `[rows, heads, width, size]`."""
    rows, heads, width, size = shape
    return tokens.view(rows, width, heads, size).transpose(1, 2)
