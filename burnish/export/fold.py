"""An adapter folded into the weights of its base."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from burnish.errors import InputError

_TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
"""What safetensors calls the number formats that weights are trained in."""


def saved_dtype(folder: Path) -> torch.dtype:
    """The number format in which most of a model's weights lie in its folder; fp32 where no safetensors file tells."""
    from safetensors import safe_open

    counts = dict.fromkeys(_TYPES, 0)
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as tensors:
            names = tensors.keys()
            for name in names:
                piece = tensors.get_slice(name)
                if piece.get_dtype() in counts:
                    counts[piece.get_dtype()] += int(torch.Size(piece.get_shape()).numel())
    return _TYPES[max(counts, key=lambda kind: counts[kind])]


def check_unquantized(config: Any, name: str) -> None:
    """A base that is itself saved in few bits cannot take an adapter up.

    Args:
        config: of the base model.
        name: of the base model.

    Raises:
        InputError: it is.
    """
    if getattr(config, "quantization_config", None) is not None:
        raise InputError(
            f"the base model `{name}` is itself saved in quantized form",
            "An adapter's small changes would be lost between the few values that its weights can have.",
            "Train on the full-precision model it was made from, for example with `--method qlora`",
        )


@torch.no_grad()
def fold(tuned: Any, dtypes: Mapping[str, torch.dtype]) -> Any:
    """The base network with the adapter in its weights; one layer after the other is computed in fp32 and rounded once.

    Args:
        tuned: the PEFT model; used up.
        dtypes: by name of the base's parameters, tied ones under all their names, the number format that they get.

    Returns:
        The network as transformers knows it. Modules that were trained in full beside the adapter, and rows of added
        tokens, have taken the places of the base's own.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in tuned.modules() if isinstance(module, BaseTunerLayer)]
    with warnings.catch_warnings():
        # each layer is merged here, so that only one at a time is held in fp32; PEFT then says that it was
        warnings.filterwarnings("ignore", message="All adapters are already merged")
        for layer in layers:
            base = layer.get_base_layer()
            held = {name: parameter.dtype for name, parameter in base.named_parameters()}
            base.float()
            layer.merge(safe_merge=True)
            for name, parameter in base.named_parameters():
                parameter.data = parameter.data.to(held[name])
        network = tuned.merge_and_unload()
    for name, parameter in network.named_parameters():
        parameter.data = parameter.data.to(dtypes[name])
        parameter.requires_grad_(False)
    return network
