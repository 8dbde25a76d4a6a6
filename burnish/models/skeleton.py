"""A network without weights, built from its config alone: the model's own code on fake tensors.

Floating-point tensors are fake (shape, dtype and device without storage); integers stay real. Token ids, positions and
masks are small and control the computation, so code that depends on their values takes the same branches as in
training.
"""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from transformers.pytorch_utils import Conv1D

from burnish.errors import ModelError, reason_of
from burnish.models.base import Loading, quiet_transformers, without_dropout
from burnish.models.blocks import linear_layers, read_in_place
from burnish.models.config import SameConfig
from burnish.models.heads import SEQUENCE_CLASSIFIER, Head
from burnish.models.labels import has_trained_head, order_of_labels
from burnish.models.tokenizer import fit_vocabulary

Empty = Callable[[Any, torch.dtype], torch.Tensor]
BLOCK, OUTER_BLOCK = 64, 256
"""Weights per scale, and scales per outer scale (arXiv 2305.14314, section 3)."""
_CODE, _OUTER_CODE = 16, 256


def fake_quantized_layer(layer: nn.Module, loading: Loading, empty: Empty) -> nn.Module:
    """A fake quantized layer that replaces a linear one.

    Args:
        layer: an `nn.Linear`, or transformers' `Conv1D`, on any device.
        loading: number of bits, and compute dtype.
        empty: creates a tensor of a shape and dtype.
    """
    inputs, outputs = _sizes(layer)
    bias = getattr(layer, "bias", None)
    make = _four_bits if loading.quantization.load_in_4bit else _eight_bits
    made = make(inputs, outputs, bias is not None, loading.dtype, empty)
    if bias is not None:
        made.bias = nn.Parameter(empty(bias.shape, bias.dtype), requires_grad=False)
    return made


def _sizes(layer: Any) -> tuple[int, int]:
    """(inputs, outputs) of a layer; the matrix of `Conv1D` is transposed."""
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
    layer.support_avx512bf16_for_cpu = False  # as after `settle`
    return layer


def _eight_bits(inputs: int, outputs: int, has_bias: bool, dtype: torch.dtype, empty: Empty) -> nn.Module:
    from bitsandbytes.nn.modules import Linear8bitLt

    with torch.device("meta"):
        layer = Linear8bitLt(inputs, outputs, bias=has_bias, has_fp16_weights=False, threshold=6.0)
    weight: Any = nn.Parameter(empty((outputs, inputs), torch.int8), requires_grad=False)
    layer.state.CB, layer.state.SCB = weight.data, empty((outputs,), torch.float32)
    weight.CB, weight.SCB = None, None  # as after the first forward pass
    layer.weight = weight
    return layer


MakeFake = Callable[[torch.Tensor], torch.Tensor]
_BODY_ONLY = (SEQUENCE_CLASSIFIER, "AutoModelForTokenClassification", "AutoModelForQuestionAnswering")
"""Classes whose head is often missing in a checkpoint; other heads are part of the language model."""


class Skeleton:
    """A network of fake tensors.

    Args:
        config: the model's config, as in its folder.
        head: the head that the task needs.
        loading: how the base weights are stored.
        tokenizer: its added tokens get rows in the embedding, as in the loaded model; None without a tokenizer.
        trust_remote_code: whether the class may be remote code of the model.
    """

    def __init__(
        self, config: Any, head: Head, loading: Loading, tokenizer: Any = None, trust_remote_code: bool = False
    ) -> None:
        import transformers

        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        changed = _with_head(config if loading.has_dropout else without_dropout(config), head)
        with quiet_transformers(), torch.device("meta"):
            auto_class = getattr(transformers, head.auto_class)
            self.network = auto_class.from_config(changed, dtype=loading.dtype, trust_remote_code=trust_remote_code)
            if tokenizer is not None:
                fit_vocabulary(self.network, tokenizer)
        self.new_modules = _new_modules(self.network, config, head)
        if loading.fast_on:
            from burnish.models.fast_paths import arrange  # brings all of transformers' modelling along

            arrange(self.network, loading.fast_on)
        if loading.quantization is not None:
            self._quantize(loading)
        self.fill()

    def fill(self, network: Any = None) -> None:
        """Replaces every real or meta floating-point weight by a fake one of its shape; ties are kept.

        Fake weights of another mode are replaced, too: PEFT copies the modules that it trains in full, and the copies
        have a copy of the mode. Between two modes torch converts every tensor again, which doubles the time of a step.

        Args:
            network: the skeleton's network after a method was applied; None for the network itself.
        """
        made: dict[int, nn.Parameter] = {}
        for module in (self.network if network is None else network).modules():
            for name, weight in module._parameters.items():
                if weight is None or (isinstance(weight, FakeTensor) and weight.fake_mode is self._mode):
                    continue
                if id(weight) not in made:
                    made[id(weight)] = nn.Parameter(self.fake(weight), requires_grad=weight.requires_grad)
                module._parameters[name] = made[id(weight)]
            for name, buffer in module._buffers.items():
                if buffer is not None and buffer.is_meta:
                    module._buffers[name] = self.fake(buffer)

    def fake(self, tensor: torch.Tensor) -> torch.Tensor:
        """A fake tensor like this one, on the CPU."""
        return self.empty(tensor.shape, tensor.dtype)

    def empty(self, shape: Any, dtype: torch.dtype) -> torch.Tensor:
        """A fake tensor on the CPU."""
        with self._mode:
            return torch.empty(shape, dtype=dtype, device="cpu")

    def _quantize(self, loading: Loading) -> None:
        """Replaces the linear layers of the blocks by quantized ones, as in the loaded model."""
        kept = getattr(self.network, "_keep_in_fp32_modules", None) or ()
        read = read_in_place(self.network)
        for name in linear_layers(self.network):
            if name in read or any(part in kept for part in name.split(".")):
                continue  # transformers does not quantize these
            parent, _, last = name.rpartition(".")
            layer = self.network.get_submodule(name)
            setattr(self.network.get_submodule(parent), last, fake_quantized_layer(layer, loading, self.empty))
        self.network.is_loaded_in_4bit = bool(loading.quantization.load_in_4bit)
        self.network.is_loaded_in_8bit = bool(loading.quantization.load_in_8bit)


@contextmanager
def quiet_fakes() -> Iterator[None]:
    """Silences torch's own report of an operation that it cannot simulate, with its traceback: Burnish reports it."""
    logger = logging.getLogger(FakeTensorMode.__module__)
    was_disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = was_disabled


def _with_head(config: Any, head: Head) -> Any:
    """A copy of the config with the head's changes, like in `from_pretrained`."""
    changed = copy.deepcopy(config)
    for name, value in head.config.items():
        if name != "ignore_mismatched_sizes":  # an argument of `from_pretrained`, not of the config
            setattr(changed, name, value)
    return changed


def _new_modules(network: Any, config: Any, head: Head) -> tuple[str, ...]:
    """The parts without weights in the checkpoint, as far as its config shows."""
    saved_from = (config.architectures or [""])[0]
    is_known = not has_trained_head(config, head) or order_of_labels(config, head) is not None
    same_number = config.num_labels == head.config.get("num_labels", config.num_labels)
    is_kept = is_known and (same_number or "id2label" in head.config)
    if head.auto_class not in _BODY_ONLY or (saved_from == type(network).__name__ and is_kept):
        return ()
    body = network.base_model_prefix
    return tuple(name for name, module in network.named_children() if name != body and list(module.parameters()))


def count_from_config(config: Any, head: Head) -> int:
    """Number of parameters of a model from its config alone; tied ones count once.

    Raises:
        ModelError: no model can be built from the config.
    """
    try:
        headed = _with_head(config, head)
        return _count(head.auto_class, SameConfig.of(headed))
    except Exception as error:  # a damaged config fails anywhere in transformers
        raise ModelError(
            "the base model cannot be built from its config",
            reason_of(error).rstrip(".") + ".",
            "Check its `config.json`, or copy it again from the source of the model",
        ) from error


@functools.lru_cache(maxsize=8)
def _count(auto_class: str, same: SameConfig) -> int:
    """Kept, because several plans of a process are often of the same model."""
    import transformers

    with quiet_transformers(), torch.device("meta"):
        network = getattr(transformers, auto_class).from_config(same.config)
    return sum(weight.numel() for weight in network.parameters())
