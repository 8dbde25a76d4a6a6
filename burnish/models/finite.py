"""Checks that the weights of a model are numbers that its arithmetic can hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from burnish.errors import ModelError
from burnish.models.location import ModelLocation

_LARGEST = torch.finfo(torch.float32).max ** (1 / 3)
"""About 7e12, which no trained weight comes near. A backward pass multiplies three such numbers, and beyond this their
product does not fit into fp32: losses may be right then, and gradients are NaN."""
_WIDER = "Use a format with a wider range: `--set model.precision=bf16` in training, `--precision bf16` in `merge`"


def check_finite(network: Any, location: ModelLocation, stored: torch.dtype, computed: torch.dtype) -> None:
    """Refuses a model with a weight that is not a number, is infinite, becomes so in its format, or makes gradients so.

    Args:
        network: loaded; its quantized weights are read from the folder.
        location: where it was loaded from, to name the cause.
        stored: dtype of its weights.
        computed: dtype that its matrices are cast to.

    Raises:
        ModelError: naming the tensor.
    """
    is_quantized = any(not weight.is_floating_point() for weight in network.parameters())
    name = first_not_finite(network)
    if name is not None or is_quantized:
        _check_files(location, stored)
    if name is not None:
        raise _not_finite(location, name, "values that are not finite")
    if (name := _first_beyond(network, _LARGEST)) is not None:
        raise _not_finite(location, name, f"a value beyond {_LARGEST:.0e}")
    most = torch.finfo(torch.float16).max
    # vectors are not cast
    if computed == torch.float16 != stored and (name := _first_beyond(network, most, rank=1)) is not None:
        raise _too_large(location, name, computed)


def first_not_finite(network: Any) -> str | None:
    """Name of the first weight with NaN or an infinite value; None if all are finite."""
    names, extremes = _extremes(network)
    is_finite = extremes.isfinite().all(-1).tolist()
    return next((name for name, fine in zip(names, is_finite, strict=True) if not fine), None)


def _first_beyond(network: Any, largest: float, rank: int = 0) -> str | None:
    """Name of the first weight of more dimensions than `rank` that has a value beyond that."""
    names, extremes = _extremes(network)
    ranks = dict((name, weight.ndim) for name, weight in network.named_parameters())
    beyond = (extremes.abs() > largest).any(-1).tolist()
    return next((name for name, far in zip(names, beyond, strict=True) if far and ranks[name] > rank), None)


@torch.no_grad()
def _extremes(network: Any) -> tuple[list[str], torch.Tensor]:
    """Names of the floating-point weights, and `[weights, 2]` fp32: the smallest and largest value of each.

    Both are NaN if a value is. One transfer from the device for all.
    """
    named = [(name, w) for name, w in network.named_parameters() if w.is_floating_point() and w.numel()]
    found = [torch.stack([value.float() for value in torch.aminmax(weight)]) for _, weight in named]
    return [name for name, _ in named], torch.stack(found).cpu() if found else torch.zeros(0, 2)


def _check_files(location: ModelLocation, dtype: torch.dtype) -> None:
    """Names the tensor in the files of a model that is not finite, or that a format cannot hold.

    Raises:
        ModelError: there is one.
    """
    from safetensors import safe_open

    for file in sorted(Path(location.folder).glob("*.safetensors")):
        with safe_open(str(file), framework="pt") as tensors:
            names = tensors.keys()
            for name in names:
                tensor = tensors.get_tensor(name)
                if not tensor.is_floating_point() or not tensor.numel():
                    continue
                numbers = tensor.float()
                if numbers.isnan().any():
                    raise _not_finite(location, name, "NaN")
                if numbers.isinf().any():
                    raise _not_finite(location, name, "infinite values")
                if dtype == torch.float16 and numbers.abs().max() > torch.finfo(dtype).max:
                    raise _too_large(location, name, dtype)


def _not_finite(location: ModelLocation, name: str, held: str) -> ModelError:
    return ModelError(
        f"the weights of `{location.name}` are damaged: the tensor `{name}` has {held}",
        "Outputs, losses or gradients of such a model are NaN.",
        "Download the model again, or use another one",
    )


def _too_large(location: ModelLocation, name: str, dtype: torch.dtype) -> ModelError:
    return ModelError(
        f"the weights of `{location.name}` do not fit into {'fp16' if dtype == torch.float16 else dtype}: the tensor "
        f"`{name}` has a value beyond {torch.finfo(dtype).max:,.0f}",
        "It would become infinite, and every output NaN.",
        _WIDER,
    )
