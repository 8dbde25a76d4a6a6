"""Chooses device and number format, and recognizes errors of running out of memory."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator

import torch

from burnish.errors import MachineError, says_out_of_memory
from burnish.kernels.scratch import free_scratch
from burnish.system.machine import this_machine

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(wanted: str) -> torch.device:
    """The requested device, or the best one available: CUDA, then Apple MPS, then the CPU.

    A GPU with a number becomes the current one, so that what asks for no device in particular uses it, too.

    Args:
        wanted: `auto`, `cpu`, `mps`, `cuda`, or one of several GPUs, such as `cuda:1`.

    Raises:
        MachineError: the requested device is not available.
    """
    kind, _, number = wanted.partition(":")
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if kind == "auto":
        kind = next(name for name, there in present.items() if there)
    if not present[kind] or (number and int(number) >= torch.cuda.device_count()):
        gpus = range(torch.cuda.device_count() if present["cuda"] else 0)
        names = [f"`cuda:{gpu}` ({torch.cuda.get_device_name(gpu)})" for gpu in gpus]
        names += [f"`{name}`" for name, is_there in present.items() if is_there and name != "cuda"]
        raise MachineError(
            f"there is no `{wanted}` device",
            f"PyTorch {torch.__version__} finds only {', '.join(names)} on this machine.",
            f"Leave `model.device` at `auto`, or name one of these: `--set model.device={'cuda:0' if gpus else 'cpu'}`",
        )
    if not number:
        return torch.device(kind)
    device = torch.device(kind, int(number))
    torch.cuda.set_device(device)
    return device


def choose_precision(wanted: str, device: torch.device) -> tuple[str, str]:
    """The number format, and the reason for it.

    Raises:
        MachineError: fp16 was requested on a device other than CUDA.
    """
    if wanted == "fp16" and device.type != "cuda":
        raise MachineError(
            f"training in fp16 is not supported on the device `{device.type}`",
            "Its narrow range needs loss scaling, which only pays off on CUDA.",
            "Use `model.precision=bf16` or `fp32`",
        )
    if wanted != "auto":
        return wanted, "as requested"
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "the GPU has fast bf16"
        return "fp16", "the GPU has no bf16"
    if device.type == "cpu" and this_machine().has_fast_bf16:
        return "bf16", "the CPU has bf16 matrix instructions"
    return "fp32", f"fp32 is fastest on the device `{device.type}`"


def compute_repeatably(device: torch.device) -> None:
    """Makes a GPU choose kernels that add in a fixed order, so that a resumed run has the same bits. CPUs do already.

    Call it before the first product: cuBLAS reads its setting once. Operations without such a kernel still run.
    """
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        # new memory need not be filled: that only helps to find faults
        torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]


def renew_threads() -> None:
    """Renews torch's pool of threads, in case this process was forked from one that has computed already.

    torch does so at the first use in such a process, but unsafely: if several threads compute first, as in the parallel
    loading of transformers, some find no pool ("Invalid thread pool!" in torch 2.13). Here, one thread renews it.
    """
    torch.set_num_threads(torch.get_num_threads())


def synchronize(device: torch.device) -> None:
    """Waits until a device has done what it was given, as before reading a clock."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@contextlib.contextmanager
def arithmetic(device: torch.device, precision: str) -> Iterator[None]:
    """Computes matrix products in `precision`; norms, softmax and the loss stay in fp32."""
    with torch.autocast(device.type, PRECISIONS[precision], enabled=precision != "fp32"):
        yield


def seed_torch(seed: int) -> None:
    """Seeds torch's generators, of the CPU and of each accelerator that is here.

    `torch.manual_seed` also notes the seed for every kind of accelerator that is not, each time with the whole stack.
    """
    torch.default_generator.manual_seed(seed)
    for accelerator in (torch.cuda, torch.xpu):
        if accelerator.is_available():
            accelerator.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


RAISED = (MemoryError, RuntimeError)
"""Types of out-of-memory errors, which are also used for others; `ran_out` distinguishes them."""


class RowTooLarge(MachineError):
    """A single held-out row does not fit into memory.

    Args:
        tokens: length of the row.
    """

    def __init__(self, tokens: int) -> None:
        super().__init__(
            f"one held-out row of {tokens:,} tokens does not fit into memory",
            "Memory ran out with one row at a time.",
            "Free some memory, then continue with `burnish resume`; or start a new run with a shorter `data.context`",
        )
        self.tokens = tokens


def ran_out(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on any device."""
    return isinstance(error, torch.OutOfMemoryError) or says_out_of_memory(error)


def free_memory() -> None:
    """Frees unused memory. Call it outside of the except block, because the traceback keeps tensors alive."""
    gc.collect()
    free_scratch()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
