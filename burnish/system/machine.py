"""The machine: cores, memory, processor and disk, without importing torch."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

_FEATURES = ("amx_bf16", "avx512_bf16")
_M_MMAP_THRESHOLD = -3
"""The number of this option in malloc.h."""
_OWN_PAGES_BYTES = 3 << 19


@dataclass(frozen=True, slots=True)
class Machine:
    """The hardware. Unknown sizes are None, an unknown processor is `unknown`."""

    cores: int
    """Cores that this process may use."""
    memory_bytes: int | None
    """Memory of the machine, or the limit of the container where that is lower."""
    processor: str
    processor_features: tuple[str, ...]
    """Which of `amx_bf16` and `avx512_bf16` the processor has, that is, hardware bf16."""
    platform: str
    python: str

    @property
    def has_fast_bf16(self) -> bool:
        """Whether the processor multiplies bf16 matrices in hardware."""
        return bool(self.processor_features)


def this_machine() -> Machine:
    """Inspects the machine that runs this process."""
    processor, features = _processor()
    return Machine(
        cores=_cores(),
        memory_bytes=_memory_bytes(),
        processor=processor,
        processor_features=features,
        platform=platform.platform(),
        python=platform.python_version(),
    )


def gigabytes(size: int) -> str:
    """`12.3 GB`, with 1 GB = 2**30 bytes, as for memory modules."""
    return f"{size / 2**30:.1f} GB"


def memory_size(size: int) -> str:
    """`12.3 GB` or `345 MB`, with 1 GB = 2**30 bytes, as for memory modules."""
    return gigabytes(size) if size >= 2**30 else f"{size / 2**20:.{0 if size >= 100 * 2**20 else 1}f} MB"


def expanded(name: str | Path) -> Path:
    """A path with `~` as the home folder; as it is where there is no such user."""
    path = Path(name)
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def is_special(path: Path) -> bool:
    """Whether it is a pipe, a device or a socket, or a link to one: reading that may never end, or fill the memory."""
    return not (path.is_file() or path.is_dir()) and path.exists()


def cache_folder() -> Path:
    """The folder for files that may be deleted at any time; it may not exist yet.

    The environment variable `BURNISH_CACHE` names another one. Otherwise it is where the system keeps such things: on
    Linux `~/.cache/burnish`, or below `XDG_CACHE_HOME` where that is an absolute path.

    Raises:
        RuntimeError: `BURNISH_CACHE` begins with the home folder of a user who has none.
    """
    chosen = os.environ.get("BURNISH_CACHE", "")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    # opinion=False: without it, the folder on Windows would be named `Cache` and lie one level deeper.
    return user_cache_path("burnish", appauthor=False, opinion=False)


def prepare_process() -> None:
    """Settings of the whole process that must be made before torch, transformers and PEFT are imported."""
    yield_cores()
    keep_few_products()
    refuse_hub_kernels()


def refuse_hub_kernels() -> None:
    """Hides the package `kernels`, so that no library fetches compiled code from the hub and runs it.

    Where it is installed, bitsandbytes does so as soon as PEFT imports it, on processors with bf16 and on a Mac, and
    transformers for some models, although no hub name was given. A program that has imported it already keeps it.
    """
    if "kernels" not in sys.modules:
        sys.modules["kernels"] = None  # pyright: ignore[reportArgumentType]  # what `import` takes as "there is none"


def yield_cores() -> None:
    """Makes torch's threads yield on a shared machine; must run before torch is imported.

    GNU OpenMP threads wait for each other by spinning. If another program uses a core, each short wait becomes a full
    time slice, and a small model, which waits often, loses most of its speed. Sleeping after 2,000 spins keeps most of
    it, at a small cost on a quiet machine. A value set by the user is kept.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")


CACHED_PRODUCTS = 96
"""Compiled matrix products that torch keeps on a CPU, one for each shape of the operands; see `keep_few_products`."""


def keep_few_products() -> None:
    """Limits the compiled matrix products that torch keeps; must run before torch multiplies anything.

    oneDNN compiles a product for each shape and keeps 1,024 of them, in bf16 of 690 KiB each (bench/products.py).
    Batches of rows as long as their texts have many shapes: tagging with a model of 9 MB took 1.19 GB, and 0.55 GB
    with this limit, in the same time. Every block of a model uses the same ones: a short LoRA run of SmolLM2-135M
    compiled 202 and used them 180,000 times (`ONEDNN_VERBOSE=profile_create` lists them). Values set by the user
    are kept.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):  # oneDNN's own, and torch's in front of it
        os.environ.setdefault(name, str(CACHED_PRODUCTS))


def collect_rarely() -> None:
    """Makes Python search for reference cycles less often, and not at all when the process ends.

    By default it searches after every 700 new objects (before Python 3.14), importing torch and transformers creates
    millions, and at exit all of them are searched. Tensors are freed by reference counting anyway.
    """
    gc.set_threshold(10_000, 20, 20)
    atexit.register(gc.freeze)


def return_freed_memory() -> bool:
    """Returns freed tensors to the system at once, so that resident memory follows live memory.

    glibc gives large allocations pages of their own, and raises the threshold for "large", up to 32 MiB, whenever one
    is freed. Smaller allocations come from heaps that it keeps, and that fragment, since a training step frees in
    another order than it allocates. But the system clears every new page. In a fixed threshold (mallopt(3),
    M_MMAP_THRESHOLD) both meet: with 256 KiB, SmolLM2-135M
    under LoRA computed 403 tokens/s and peaked at 1.37 GB; with 1.5 MiB it was 518 and 1.46 GB, and with glibc's own
    threshold 499 and 1.55 GB (`bench/allocator.py`). Wider
    models have larger tensors, which get pages of their own, and compute longer on each. Earlier allocations are not
    moved. Settings in the environment are kept.

    Returns:
        Whether it took effect; never outside Linux with glibc.
    """
    chosen = any(name.startswith("MALLOC_") for name in os.environ)
    if chosen or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "") or not _has_glibc():
        return False
    import ctypes

    return ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _OWN_PAGES_BYTES) == 1


def trim_heap() -> None:
    """Returns the free pages of glibc's heaps to the system; does nothing with another C library.

    Simulating and confirming a plan allocates and frees hundreds of MiB in small pieces, which glibc would keep.
    """
    if _has_glibc():
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)


def _has_glibc() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc")
    except (ValueError, OSError):  # another C library, such as musl
        return False


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_bytes() -> int | None:
    sizes = [size for size in (_physical_bytes(), _container_bytes()) if size]
    return min(sizes, default=None)


def _physical_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _container_bytes() -> int | None:
    """The memory limit of a Linux control group, version 2 or 1; None where there is none."""
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = _read(Path(file)).strip()
        if text.isdecimal():
            return int(text)
    return None


def reset_peak() -> None:
    """Restarts the count of `peak_bytes`; does nothing if the system has no such count."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_bytes() -> int | None:
    """Peak resident memory of this process since `reset_peak`; None if the system does not report it."""
    for line in _read(Path("/proc/self/status")).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def resident_bytes() -> int:
    """Resident memory of this process now."""
    import psutil

    return psutil.Process().memory_info().rss


def process_start() -> float:
    """When this process began, in seconds since 1970."""
    import psutil

    return psutil.Process().create_time()


def container_room() -> int | None:
    """Bytes that the Linux control group of this process may still allocate; None without a limit."""
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        most, used_now = _read(Path(limit)).strip(), _read(Path(used)).strip()
        if most.isdecimal() and used_now.isdecimal():
            return max(0, int(most) - int(used_now))
    return None


def _processor() -> tuple[str, tuple[str, ...]]:
    if sys.platform == "darwin":
        return _sysctl("machdep.cpu.brand_string") or "unknown", ()
    return parse_cpuinfo(_read(Path("/proc/cpuinfo")))


def parse_cpuinfo(text: str) -> tuple[str, tuple[str, ...]]:
    """Processor name and bf16 features from the text of Linux's `/proc/cpuinfo`."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip(), value.strip())
    flags = fields.get("flags", "").split()
    return fields.get("model name", "unknown"), tuple(feature for feature in _FEATURES if feature in flags)


def _sysctl(name: str) -> str:
    try:
        return subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


_PACKAGES = (
    "burnish", "torch", "transformers", "tokenizers", "peft", "accelerate", "safetensors", "datasets", "numpy",
    "bitsandbytes",
)  # fmt: skip


def all_versions() -> dict[str, str | None]:
    """The version of Python, and those of `package_versions`."""
    return {"python": platform.python_version(), **package_versions()}


def package_versions() -> dict[str, str | None]:
    """The versions of all packages that take part in a step; None for those not installed."""
    return {name: _version(name) for name in _PACKAGES}


@cache
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
