"""The number format that a product would be computed in at this moment."""

from __future__ import annotations

import torch


def arithmetic_type(tensor: torch.Tensor) -> torch.dtype:
    """Autocast's, where it is on for the device of the tensor, else the tensor's own.

    Autograd functions of our own cast their inputs to it before they are called and compute with autocast off: inside
    them, it would cast some results and not others.
    """
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tensor.dtype
