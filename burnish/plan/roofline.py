"""Estimates the time of a step on another device, from counted arithmetic and traffic and the maker's figures."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

from burnish.kernels import loss as head_loss
from burnish.plan.devices import Device
from burnish.plan.grouped import grouped_flops, is_grouped
from burnish.plan.live_storage import is_in_place

_VIEWS = {
    *("view", "_unsafe_view", "detach", "alias", "t", "transpose", "permute", "slice", "expand"),
    *("unsqueeze", "squeeze", "select", "unbind", "split", "split_with_sizes", "chunk"),
}
_OF_LISTS = ("_foreach_", "_fused_")
_FOUR_BITS = "bitsandbytes::gemm_4bit"
_HEAD = "burnish::losses_and_gradients"
_VARLEN_BACKWARD = "torch_attn::_varlen_attn_backward"
_FLASH = torch.ops.aten._scaled_dot_product_flash_attention
_FLASH_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_backward
_SAME_WORK = {f"{_FLASH.__name__}_for_cpu": _FLASH, f"{_FLASH.__name__}_for_cpu_backward": _FLASH_BACKWARD}
"""Operations without a FLOP formula in torch, mapped to equivalents with the same first arguments."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One kind of work: the FLOPs of its matrix products, and the bytes that it reads and writes."""

    flops: int
    traffic: int
    precision: str
    """`fp32`, `bf16` or `fp16`: the dtype it computes in."""


@dataclass(slots=True)
class Work:
    """Operations with their counts."""

    operations: Counter[Operation] = field(default_factory=Counter)

    def add(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        """Counts one operation; views cost nothing."""
        packet = function._overloadpacket
        if packet.__name__.startswith(_OF_LISTS):
            self._add_each([*args, *kwargs.values(), result])
            return
        gives_tensors = isinstance(_first(result), torch.Tensor)
        if packet.__name__ in _VIEWS or not (gives_tensors or packet.__name__.endswith("_")):
            return
        written = [] if is_in_place(function, kwargs) else [result]
        tensors = [*_flat(args), *_flat(kwargs.values()), *_flat(written)]
        traffic = sum({id(one): one.numel() * one.element_size() for one in tensors}.values())
        flops, formula = 0, flop_registry.get(_SAME_WORK.get(packet.__name__, packet))
        if formula is not None:
            flops = formula(*args, **kwargs, out_val=result)
        elif is_grouped(function):
            flops = grouped_flops(*args)
        elif function.name().startswith(_FOUR_BITS):
            flops = 2 * math.prod(args[0].shape[:-1]) * math.prod(args[2])
            traffic += 2 * bytes_inside(function, args, result)  # the unpacked matrix is written and read
        if function.name().startswith(_HEAD):
            traffic += head_loss.bytes_moved(*args)
        self.operations[Operation(flops, traffic, _precision(tensors))] += 1

    def _add_each(self, values: list[Any]) -> None:
        """Counts operations on all weights at once per weight, so that they scale with the number of blocks."""
        lists = [one for one in values if isinstance(one, tuple | list) and one and isinstance(one[0], torch.Tensor)]
        for tensors in zip(*lists, strict=False):
            traffic = sum(one.numel() * one.element_size() for one in tensors)
            self.operations[Operation(0, traffic, _precision(list(tensors)))] += 1

    def clear(self) -> None:
        """Discards all counts."""
        self.operations.clear()

    @property
    def flops(self) -> int:
        """Floating-point operations of all matrix products; a multiply and an add are two."""
        return sum(one.flops * times for one, times in self.operations.items())


def bytes_inside(function: Any, args: tuple[Any, ...], result: Any) -> int:
    """Temporary bytes of the operations that need many: logits, the matrix of a 4-bit layer, or fp32 sums of
    gradients."""
    if function.name().startswith(_HEAD):
        return head_loss.bytes_inside(*args)
    if function.name().startswith(_VARLEN_BACKWARD):
        return _of_varlen_backward(*args[1:3], examples=len(args[6]) - 1)
    if not function.name().startswith(_FOUR_BITS):
        return 0
    return math.prod(args[2]) * args[0].element_size()


def _of_varlen_backward(query: torch.Tensor, key: torch.Tensor, examples: int) -> int:
    """Sums over blocks of keys for each query, padded by 128 tokens per example, and gradients of the keys for each
    query head (`mha_varlen_bwd` in `flash_api.cpp` of FlashAttention 2, which is part of PyTorch).

    Args:
        query: `[tokens, heads, size]`.
        key: `[tokens, key heads, size]`.
        examples: in these tokens.
    """
    tokens, heads, size = query.shape
    sums = 4 * (tokens + 128 * examples) * heads * (-(-size // 32) * 32 + 1)
    return sums + (2 * query.numel() * query.element_size() if key.shape[1] != heads else 0)


def _precision(tensors: list[torch.Tensor]) -> str:
    types = {one.dtype for one in tensors}
    if torch.bfloat16 in types:
        return "bf16"
    return "fp16" if torch.float16 in types else "fp32"


def _first(result: Any) -> Any:
    return result[0] if isinstance(result, tuple | list) and result else result


def _flat(values: Any) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    for value in values:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += _flat(value)
    return found


@dataclass(frozen=True, slots=True)
class Reach:
    """The share of its peak rates that a device achieves."""

    matrices: float
    """Share of the peak rate achieved by matrix products."""
    bandwidth: float
    """Share of the memory bandwidth."""
    launch: float
    """Seconds for the host to launch one operation."""


BEST = Reach(matrices=0.8, bandwidth=0.9, launch=5e-6)
"""Large matrix products of good shapes achieve 80 % (H100) and 87 % (A100) of the peak: table of maximum achievable
matmul FLOPS in S. Bekman, Machine Learning Engineering. Tensors above 100 MB achieve 90 % of the bandwidth: Calculon
(Isaev and others, SC 2023), its description of an A100. A kernel launch takes at least 5 microseconds."""
WORST = Reach(matrices=0.4, bandwidth=0.6, launch=13e-6)
"""Complete training runs achieve 33 to 39 % (torchtitan, Llama 3.1 8B on H100) and 38 to 43 % (The Llama 3 Herd of
Models, arXiv 2407.21783) of the peak. Tensors of 1 MB achieve 60 % of the bandwidth (Calculon, as above). From Python,
an operation costs more than its launch: Qwen-1.8B takes 1.0 s for 8 micro-batches with rows of either 256 or 512
tokens (the README of Qwen), so it waits for the host: about 9,200 operations each, 13 microseconds per operation."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """Tokens per second, with bounds."""

    tokens_per_second: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """Seconds, with bounds. The estimate is their geometric mean."""

    seconds: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.seconds:.3g} s ({self.low:.3g} to {self.high:.3g} s)"

    @classmethod
    def between(cls, low: float, high: float) -> TimeEstimate:
        """The estimate for two bounds: their geometric mean."""
        return cls(math.sqrt(low * high), low, high)

    def times(self, count: float) -> TimeEstimate:
        """The estimate for `count` repetitions in sequence."""
        return TimeEstimate(self.seconds * count, self.low * count, self.high * count)

    def throughput(self, tokens: int) -> Throughput:
        """Tokens per second if this many tokens take this time."""
        return Throughput(tokens / self.seconds, tokens / self.high, tokens / self.low)


def estimate_time(work: Work, device: Device, best: Reach = BEST, worst: Reach = WORST) -> TimeEstimate | None:
    """How long the counted work takes on a device.

    The host launches operations ahead of the device. At best the shorter of the two times is hidden by the longer; at
    worst the device waits for every launch.

    Args:
        work: counted in the precision of the run.
        device: of the table.
        best: achieved shares of the peak rates for the low bound.
        worst: the same for the high bound.

    Returns:
        None if the device's rates or its bandwidth are unknown.
    """
    quick, slow = busy_seconds(work, device, best), busy_seconds(work, device, worst)
    if quick is None or slow is None:
        return None
    launches = sum(work.operations.values())
    return TimeEstimate.between(max(quick, launches * best.launch), slow + launches * worst.launch)


def busy_seconds(work: Work, device: Device, reach: Reach) -> float | None:
    """Seconds that the device computes or moves bytes, by the roofline model, without launches.

    Returns:
        None if the device's rates or its bandwidth are unknown.
    """
    if not device.rates or device.bandwidth is None:
        return None
    bandwidth = device.bandwidth * reach.bandwidth
    seconds = 0.0
    for one, times in work.operations.items():
        rate = device.rate(one.precision) * reach.matrices
        seconds += times * max(one.flops / rate, one.traffic / bandwidth)
    return seconds
