"""How long a step takes on a device that is not here: its arithmetic and traffic counted, and its maker's figures."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

from burnish.kernels import loss as head_loss
from burnish.plan.devices import Device

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
"""Operations that torch has no formula for, and those that do the same work with the same first arguments."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One kind of work: the arithmetic that its matrix products do, and the bytes that it reads and writes."""

    flops: int
    traffic: int
    precision: str
    """`fp32`, `bf16` or `fp16`: the type it computes in."""


@dataclass(slots=True)
class Work:
    """Operations, each with how often it comes."""

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
        tensors = [*_flat(args), *_flat(kwargs.values()), *_flat([result])]
        traffic = sum({id(one): one.numel() * one.element_size() for one in tensors}.values())
        flops, formula = 0, flop_registry.get(_SAME_WORK.get(packet.__name__, packet))
        if formula is not None:
            flops = formula(*args, **kwargs, out_val=result)
        elif function.name().startswith(_FOUR_BITS):
            flops = 2 * math.prod(args[0].shape[:-1]) * math.prod(args[2])
            traffic += 2 * bytes_inside(function, args, result)  # the unpacked matrix is written and read
        if function.name().startswith(_HEAD):
            traffic += head_loss.bytes_moved(*args)
        self.operations[Operation(flops, traffic, _precision(tensors))] += 1

    def _add_each(self, values: list[Any]) -> None:
        """Counts what is done to all weights at once, weight by weight, so that it repeats with the blocks."""
        lists = [one for one in values if isinstance(one, tuple | list) and one and isinstance(one[0], torch.Tensor)]
        for tensors in zip(*lists, strict=False):
            traffic = sum(one.numel() * one.element_size() for one in tensors)
            self.operations[Operation(0, traffic, _precision(list(tensors)))] += 1

    def clear(self) -> None:
        """Begins again."""
        self.operations.clear()

    @property
    def flops(self) -> int:
        """Floating-point operations of all matrix products; a multiply and an add are two."""
        return sum(one.flops * times for one, times in self.operations.items())


def bytes_inside(function: Any, args: tuple[Any, ...], result: Any) -> int:
    """Bytes that an operation takes for itself where these are many: logits, the matrix of a 4-bit layer, or sums of
    gradients in fp32."""
    if function.name().startswith(_HEAD):
        return head_loss.bytes_inside(*args)
    if function.name().startswith(_VARLEN_BACKWARD):
        return _of_varlen_backward(*args[1:3], examples=len(args[6]) - 1)
    if not function.name().startswith(_FOUR_BITS):
        return 0
    return math.prod(args[2]) * args[0].element_size()


def _of_varlen_backward(query: torch.Tensor, key: torch.Tensor, examples: int) -> int:
    """Sums over blocks of keys for each query, padded by 128 tokens an example, and keys' gradients for each query head
    (`mha_varlen_bwd` in `flash_api.cpp` of FlashAttention 2, which PyTorch has within).

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
    """What a device makes of its named rates."""

    matrices: float
    """Share of the peak rate that matrix products reach."""
    bandwidth: float
    """Share of the memory's bandwidth."""
    launch: float
    """Seconds that the host needs to start one operation."""


BEST = Reach(matrices=0.8, bandwidth=0.9, launch=5e-6)
"""Large products of good shapes come to 80 % (H100) and 87 % (A100) of the peak: table of maximum achievable matmul
FLOPS in S. Bekman, Machine Learning Engineering. Of the bandwidth, tensors above 100 MB come to 90 %: Calculon (Isaev
and others, SC 2023), its description of an A100. A call that launches a kernel takes 5 microseconds and more."""
WORST = Reach(matrices=0.4, bandwidth=0.6, launch=13e-6)
"""Of the peak, whole trainings reach 33 to 39 % (torchtitan, Llama 3.1 8B on H100) and 38 to 43 % (The Llama 3 Herd of
Models, arXiv 2407.21783). Of the bandwidth, tensors of 1 MB come to 60 % (Calculon, as above). Written in Python, an
operation costs more than its launch: Qwen-1.8B takes 1.0 s for 8 micro-batches, whether their rows hold 256 or 512
tokens (the README of Qwen), so it waits for the host: some 9,200 operations each, 13 microseconds an operation."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """Tokens per second, and between what they lie."""

    tokens_per_second: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """Seconds, and between what they lie. The estimate is as many times the low bound as the high one is of it."""

    seconds: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.seconds:.3g} s ({self.low:.3g} to {self.high:.3g} s)"

    @classmethod
    def between(cls, low: float, high: float) -> TimeEstimate:
        """The estimate that its two bounds are equally far from, as a ratio."""
        return cls(math.sqrt(low * high), low, high)

    def times(self, count: float) -> TimeEstimate:
        """So many of it, one after the other."""
        return TimeEstimate(self.seconds * count, self.low * count, self.high * count)

    def throughput(self, tokens: int) -> Throughput:
        """Tokens per second where this many tokens take the time."""
        return Throughput(tokens / self.seconds, tokens / self.high, tokens / self.low)


def estimate_time(work: Work, device: Device, best: Reach = BEST, worst: Reach = WORST) -> TimeEstimate | None:
    """How long the counted work takes on a device.

    The host starts operations ahead of the device. At best one side's time hides behind the other's; at worst every
    launch is waited for.

    Args:
        work: counted in the precision that it is to run in.
        device: of the table.
        best: what the device makes of its rates for the low bound.
        worst: the same for the high bound.

    Returns:
        None where the device's rates or its bandwidth are not known: then no time can be told.
    """
    quick, slow = busy_seconds(work, device, best), busy_seconds(work, device, worst)
    if quick is None or slow is None:
        return None
    launches = sum(work.operations.values())
    return TimeEstimate.between(max(quick, launches * best.launch), slow + launches * worst.launch)


def busy_seconds(work: Work, device: Device, reach: Reach) -> float | None:
    """Seconds that the device computes or moves bytes, by the roofline; starting operations is left out.

    Returns:
        None where the device's rates or its bandwidth are not known.
    """
    if not device.rates or device.bandwidth is None:
        return None
    bandwidth = device.bandwidth * reach.bandwidth
    seconds = 0.0
    for one, times in work.operations.items():
        rate = device.rate(one.precision) * reach.matrices
        seconds += times * max(one.flops / rate, one.traffic / bandwidth)
    return seconds
