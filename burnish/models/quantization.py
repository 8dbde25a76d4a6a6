"""Base weights in 4 or 8 bits, with bitsandbytes."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import time
from typing import Any

import torch

from burnish.errors import MachineError
from burnish.models.blocks import linear_layers, read_in_place
from burnish.models.heads import Head

TIMED_TOKENS = 256
_TIMED_ROUNDS = 3
_NO_COMPILING = "TORCHDYNAMO_DISABLE"
"""Environment variable that torch.compile checks at each call."""


def import_bitsandbytes() -> None:
    """Imports bitsandbytes, if installed, without its side effects; call it before anything else imports it.

    At import it advises users of some CPUs to install a kernel from the hub, and LLM.int8 logs each cast of its inputs;
    users need not act on either. Errors are still logged.

    It also compiles its fallbacks for devices without kernels, which imports the complete compiler at every start. On
    CPU and CUDA they are not used, so there compilation is turned off during the import.
    """
    logger = logging.getLogger("bitsandbytes")
    if logger.level != logging.ERROR:  # setting it goes through all loggers
        logger.setLevel(logging.ERROR)
    if "bitsandbytes" in sys.modules or importlib.util.find_spec("bitsandbytes") is None:
        return
    before = os.environ.get(_NO_COMPILING)
    if not torch.backends.mps.is_available() and not torch.xpu.is_available():
        os.environ[_NO_COMPILING] = "1"
    try:
        importlib.import_module("bitsandbytes")
    finally:
        if before is None:
            os.environ.pop(_NO_COMPILING, None)
        else:
            os.environ[_NO_COMPILING] = before


def nf4_config(precision: torch.dtype, device: torch.device) -> Any:
    """4-bit NormalFloat with double quantization (arXiv 2305.14314), computing in `precision`.

    Raises:
        MachineError: bitsandbytes is missing, or does not support this device.
    """
    _check_bitsandbytes(device)
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=precision,
    )


def int8_config(device: torch.device) -> Any:
    """LLM.int8 (arXiv 2208.07339).

    Raises:
        MachineError: bitsandbytes is missing, or does not support this device.
    """
    _check_bitsandbytes(device)
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(load_in_8bit=True)


def _check_bitsandbytes(device: torch.device) -> None:
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MachineError(
            "quantized base weights need the package bitsandbytes",
            "It is not installed here.",
            "`pip install bitsandbytes`, or train with `--method lora`",
        )
    if device.type not in ("cpu", "cuda"):
        raise MachineError(
            f"quantized base weights cannot be trained on the device `{device.type}`",
            "bitsandbytes supports only CUDA and, slowly, the CPU.",
            "Use `--method lora`, or `--set model.device=cpu`",
        )
    import_bitsandbytes()


def skipped_modules(config: Any, head: Head, trust_remote_code: bool) -> list[str]:
    """Patterns for the linear layers that are not quantized: those outside of the blocks, such as heads and poolers,
    and those whose weight the model reads itself.

    Found on a copy of the model on the meta device, which takes no memory. Embeddings are never quantized.

    Args:
        config: the model's config, with the head's changes.
        head: the head, with the transformers class to load.
        trust_remote_code: whether that class may be remote code of the model.
    """
    import transformers

    with torch.device("meta"):
        empty = getattr(transformers, head.auto_class).from_config(config, trust_remote_code=trust_remote_code)
    inside = set(linear_layers(empty)) - read_in_place(empty).keys()
    linear = [name for name, module in empty.named_modules() if isinstance(module, torch.nn.Linear)]
    return [f"^{name}$" for name in linear if name not in inside]


def settle(network: Any) -> None:
    """Keeps the 4-bit weights of a loaded network in the layout that training needs.

    On CPUs with bf16 instructions, bitsandbytes repacks them in the first forward pass without gradients. That layout
    has no backward pass, rounds the scales, and requires widths that are multiples of 32; training would fail after the
    first validation.
    """
    for module in network.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            module.support_avx512bf16_for_cpu = False


def slowdown(network: Any, precision: torch.dtype) -> float:
    """Measures how many times longer the largest quantized layer takes than a plain one, forward and backward.

    Args:
        network: a network with quantized layers.
        precision: compute dtype.
    """
    named = dict(network.named_modules())
    layers = [named[name] for name in linear_layers(network) if not named[name].weight.dtype.is_floating_point]
    if not layers:
        return 1.0
    layer = max(layers, key=lambda layer: layer.in_features * layer.out_features)
    device = layer.weight.device
    plain = torch.nn.Linear(layer.in_features, layer.out_features, device=device, dtype=precision)
    plain.requires_grad_(False)
    was_training = layer.training
    layer.train()  # LLM.int8 uses another code path in evaluation
    pairs = [(_seconds(layer, precision), _seconds(plain, precision)) for _ in range(_TIMED_ROUNDS + 1)]
    layer.train(was_training)
    return min(quantized for quantized, _ in pairs) / min(plain for _, plain in pairs)


def _seconds(layer: Any, precision: torch.dtype) -> float:
    given = torch.zeros(TIMED_TOKENS, layer.in_features, device=layer.weight.device, dtype=precision)
    given.requires_grad_(True)
    begun = time.perf_counter()
    layer(given).sum().backward()
    return time.perf_counter() - begun


def nf4_bytes(rows: int, columns: int) -> int:
    """Bytes of a matrix in NF4 with double quantization (arXiv 2305.14314, section 3).

    Half a byte per weight; a one-byte scale per 64 weights, and an fp32 scale per 256 of these; 4 bytes for their mean,
    and two fp32 code tables with 16 and 256 entries.
    """
    blocks = -(-rows * columns // 64)
    return -(-rows * columns // 2) + blocks + 4 * -(-blocks // 256) + 4 + 4 * (16 + 256)


def int8_bytes(rows: int, columns: int) -> int:
    """Bytes of a matrix in LLM.int8 (arXiv 2208.07339): one per weight, and an fp32 scale per row."""
    return rows * columns + 4 * rows
