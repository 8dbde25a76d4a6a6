"""The errors that a user can see.

    BurnishError             exit code 1    the run failed
    ├── InputError           exit code 2    invalid input: usage, recipe, data, model name
    │   ├── RecipeError                     an unknown option, or an invalid value
    │   ├── DataError                       a file that cannot be read or trained on
    │   ├── ModelError                      a base model that cannot be found or loaded
    │   └── MissingRun                      there is no run of that name
    ├── MachineError         exit code 3    the machine cannot run it: memory, disk, device, missing package
    │   └── PeerLost                        another process of the same run has ended
    └── Interrupted          exit code 130  stopped by the user; the state is saved

Each has three short parts: what is wrong (with the value, and file and line for data), why, and what to do.
"""

from __future__ import annotations

from burnish.visible import visible


class BurnishError(Exception):
    """A failure that is reported to the user in three parts, without a traceback.

    Args:
        what: what is wrong, with the value in it; no full stop.
        why: the reason, if it is not obvious from `what`.
        fix: one command or one change that fixes it.
    """

    exit_code = 1

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(visible(what))  # where it is not caught, Python prints it
        self.what = what
        self.why = why
        self.fix = fix


class InputError(BurnishError):
    """Invalid input: usage, recipe, data or model name."""

    exit_code = 2


class MissingRun(InputError):
    """There is no run of that name."""


class RecipeError(InputError):
    """An unknown option, or an invalid value."""


class DataError(InputError):
    """A file that cannot be read, or rows that cannot be trained on."""


class ModelError(InputError):
    """A base model that cannot be found, or cannot be loaded safely."""


class MachineError(BurnishError):
    """The machine cannot run it: memory, disk, device or a missing package."""

    exit_code = 3


class PeerLost(MachineError):
    """Another process of the same run has ended, and its own error, if it had one, says why."""


class Interrupted(BurnishError):
    """Stopped by Ctrl-C or SIGTERM after the state was saved."""

    exit_code = 130


_REASON_CHARACTERS = 300


def reason_of(error: Exception) -> str:
    """What a library's error says: its first line, and the next if that is needed for a sentence; cut if it is long."""
    if isinstance(error, KeyError):
        return f"there is no {error}"[:_REASON_CHARACTERS]
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:_REASON_CHARACTERS]


def is_panic(error: BaseException) -> bool:
    """Whether it is the failure of a library in Rust, which no `except Exception` catches."""
    return type(error).__module__ == "pyo3_runtime"


_MEMORY_MESSAGES = (
    "CUDA out of memory",
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "MPS backend out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
)
"""Parts of RuntimeError messages: of torch's CUDA allocator, of c10's CPU allocator on Linux, macOS and Windows, of the
MPS allocator, of CUDA and cuBLAS when they allocate outside of torch's allocator, and of C++."""


def says_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out: Python's own, or one in the words of libraries that allocate it."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MEMORY_MESSAGES)
