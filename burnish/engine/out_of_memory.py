"""Running out of memory: how it is told from other failures, and what can be given back afterwards."""

from __future__ import annotations

import gc

import torch

from burnish.errors import MachineError

RAISED = (MemoryError, RuntimeError)
"""What running out of memory is raised as, among other things; `ran_out` tells which."""
_TOLD = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "MPS backend out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
)
"""Parts of the texts of plain RuntimeErrors: of c10's allocator for the CPU on Linux and macOS and on Windows, of that
for Apple's GPUs, of CUDA and cuBLAS where they take memory beside torch's own allocator, and of C++."""


class RowTooLarge(MachineError):
    """A held-out row that does not fit into memory by itself.

    Args:
        tokens: of the row.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__(
            f"one held-out row of {tokens:,} tokens does not fit into memory",
            "Memory ran out with one row at a time.",
            "Free some memory, then go on with `burnish resume`; or start a new run with a shorter `data.context`",
        )
        self.tokens = tokens


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on whatever device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _TOLD)


def free_memory() -> None:
    """Gives back what nothing holds any more; to be called when the error is gone, whose traceback holds tensors."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
