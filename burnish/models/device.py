"""Which device runs the model, in which number format, and what happens when its memory runs out."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

import torch

from burnish.errors import MachineError
from burnish.system.machine import this_machine

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(wanted: str) -> torch.device:
    """The device asked for, or the best there is: CUDA, then Apple MPS, then the CPU.

    Raises:
        MachineError: the device asked for is not there.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        wanted = next(name for name, there in present.items() if there)
    if not present[wanted]:
        there = ", ".join(f"`{name}`" for name, is_there in present.items() if is_there)
        raise MachineError(
            f"there is no `{wanted}` device",
            f"PyTorch {torch.__version__} sees only {there} here.",
            "Leave `model.device` at `auto`",
        )
    return torch.device(wanted)


def choose_precision(wanted: str, device: torch.device) -> tuple[str, str]:
    """The number format and the reason for it.

    Raises:
        MachineError: fp16 was asked for on the CPU, which has no loss-scaled fp16 arithmetic worth using.
    """
    if wanted == "fp16" and device.type != "cuda":
        raise MachineError(
            f"fp16 does not train on the {device.type} device",
            "Its narrow range needs loss scaling, which pays off on CUDA only.",
            "Use `model.precision=bf16` or `fp32`",
        )
    if wanted != "auto":
        return wanted, "as asked"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "the GPU computes bf16 at full speed"
        return "fp16", "the GPU has no bf16"
    if device.type == "cpu" and this_machine().has_fast_bf16:
        return "bf16", "the CPU has bf16 matrix instructions"
    return "fp32", f"the {device.type} device does fp32 best"


@contextlib.contextmanager
def arithmetic(device: torch.device, precision: str) -> Iterator[None]:
    """Matrix products in `precision`; norms, softmax and the loss stay in fp32."""
    with torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "fp32"):
        yield


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
