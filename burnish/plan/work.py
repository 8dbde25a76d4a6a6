"""Arithmetic and memory traffic of a step, counted operation by operation."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

from burnish.kernels import head_loss

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
