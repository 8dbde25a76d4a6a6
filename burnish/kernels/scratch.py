"""Memory for intermediate results, kept from one operation to the next.

The system clears every page that it gives a process. For a new tensor of 3 MB that can take longer than
filling it, and large tensors get new pages each time (see `burnish.system.machine.return_freed_memory`). An
intermediate result that is only used inside one operation is therefore written over that of the operation before.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import torch

_LOCAL = threading.local()
"""By thread, because two threads may compute at the same time."""


def scratch(name: str, shape: Sequence[int], like: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A tensor of undefined values, which is valid until the next call with this name in this thread.

    New memory on other devices than the CPU, where torch keeps freed memory itself, and while torch compiles or a
    dispatch mode is active: a step that is traced, simulated or measured has to show what it takes by itself, whatever
    was computed before it.

    Args:
        name: of its use; two intermediate results that exist at the same time need different names.
        shape: of the result.
        like: gives the device.
        dtype: of the result; None for that of `like`.
    """
    dtype = like.dtype if dtype is None else dtype
    if like.device.type != "cpu" or torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack():
        return torch.empty(shape, dtype=dtype, device=like.device)
    kept: dict[str, torch.Tensor] = vars(_LOCAL).setdefault("kept", {})
    size = math.prod(shape) * dtype.itemsize
    held = kept.get(name)
    if held is None or held.numel() < size:
        kept.pop(name, None)
        held = None  # freed before the larger one is allocated
        held = kept[name] = torch.empty(size, dtype=torch.uint8)
    return held[:size].view(dtype).view(shape)


def free_scratch() -> None:
    """Frees the memory kept for this thread."""
    vars(_LOCAL).pop("kept", None)
