"""Quantized layers that hold no numbers: bitsandbytes' own modules, with tensors of the layout it would give them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from burnish.models.base import Loading

Empty = Callable[[Any, torch.dtype], torch.Tensor]
BLOCK, OUTER_BLOCK = 64, 256
"""Weights that share a scale, and scales that share a scale (arXiv 2305.14314, section 3)."""
_CODE, _OUTER_CODE = 16, 256


def stand_in_layer(layer: nn.Module, loading: Loading, empty: Empty) -> nn.Module:
    """The quantized layer that takes the place of a linear one.

    Args:
        layer: an `nn.Linear`, or transformers' `Conv1D`, on any device.
        loading: says into how many bits, and the type of the arithmetic.
        empty: makes a tensor of a shape and type.
    """
    inputs, outputs = _sizes(layer)
    bias = getattr(layer, "bias", None)
    make = _four_bits if loading.quantization.load_in_4bit else _eight_bits
    made = make(inputs, outputs, bias is not None, loading.dtype, empty)
    if bias is not None:
        made.bias = nn.Parameter(empty(bias.shape, bias.dtype), requires_grad=False)
    return made


def _sizes(layer: Any) -> tuple[int, int]:
    """(inputs, outputs) of a layer; `Conv1D` holds its matrix the other way round."""
    rows, columns = layer.weight.shape
    return (rows, columns) if isinstance(layer, Conv1D) else (columns, rows)


def _four_bits(inputs: int, outputs: int, has_bias: bool, dtype: torch.dtype, empty: Empty) -> nn.Module:
    from bitsandbytes.functional import QuantState
    from bitsandbytes.nn.modules import Linear4bit

    with torch.device("meta"):
        layer = Linear4bit(
            inputs, outputs, bias=has_bias, compute_dtype=dtype, compress_statistics=True, quant_type="nf4"
        )
    blocks = -(-inputs * outputs // BLOCK)
    outer = QuantState(
        absmax=empty((-(-blocks // OUTER_BLOCK),), torch.float32),
        code=empty((_OUTER_CODE,), torch.float32),
        blocksize=OUTER_BLOCK,
        dtype=torch.float32,
    )
    weight: Any = nn.Parameter(empty((-(-inputs * outputs // 2), 1), torch.uint8), requires_grad=False)
    weight.quant_state = QuantState(
        absmax=empty((blocks,), torch.uint8),
        shape=torch.Size((outputs, inputs)),
        code=empty((_CODE,), torch.float32),
        blocksize=BLOCK,
        quant_type="nf4",
        dtype=dtype,
        offset=empty((), torch.float32),
        state2=outer,
    )
    weight.compress_statistics, weight.quant_type = True, "nf4"
    layer.weight = weight
    layer.support_avx512bf16_for_cpu = False  # as `settle` leaves it
    return layer


def _eight_bits(inputs: int, outputs: int, has_bias: bool, dtype: torch.dtype, empty: Empty) -> nn.Module:
    from bitsandbytes.nn.modules import Linear8bitLt

    with torch.device("meta"):
        layer = Linear8bitLt(inputs, outputs, bias=has_bias, has_fp16_weights=False, threshold=6.0)
    weight: Any = nn.Parameter(empty((outputs, inputs), torch.int8), requires_grad=False)
    layer.state.CB, layer.state.SCB = weight.data, empty((outputs,), torch.float32)
    weight.CB, weight.SCB = None, None  # what the layer makes of its weight in the first forward pass
    layer.weight = weight
    return layer
