"""The dtype in which a matrix product would be computed right now."""

from __future__ import annotations

import torch


def arithmetic_type(tensor: torch.Tensor) -> torch.dtype:
    """Autocast's dtype if it is on for the device of the tensor, else the tensor's own.

    Our autograd functions cast their inputs to it before the call and compute with autocast off: inside them it would
    cast some results and not others.
    """
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tensor.dtype
