"""What a network gives out, whatever its head."""

from __future__ import annotations

from typing import Any

import torch

_NAMES = ("logits", "start_logits", "end_logits")


def all_logits(output: Any) -> list[torch.Tensor]:
    """The logits of a network's output, of any shape: one tensor, or two where a span is looked for."""
    return [output[name] for name in _NAMES if output.get(name) is not None]
