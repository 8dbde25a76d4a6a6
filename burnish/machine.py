"""The machine: cores, memory, processor and disk, read without torch."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_FEATURES = ("amx_bf16", "avx512_bf16")


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine has. Unknown sizes are None, an unknown processor is `unknown`."""

    cores: int
    """Cores that this process may use."""
    memory_bytes: int | None
    """Memory of the machine, or the limit of the container where that is lower."""
    processor: str
    processor_features: tuple[str, ...]
    """Which of `amx_bf16` and `avx512_bf16` the processor has: fast arithmetic in bf16."""
    platform: str
    python: str

    @property
    def has_fast_bf16(self) -> bool:
        """Whether the processor multiplies bf16 matrices in hardware."""
        return bool(self.processor_features)


def this_machine() -> Machine:
    """Reads the machine that runs this process."""
    processor, features = _processor()
    return Machine(
        cores=_cores(),
        memory_bytes=_memory_bytes(),
        processor=processor,
        processor_features=features,
        platform=platform.platform(),
        python=platform.python_version(),
    )


def share_cores() -> None:
    """Lets torch's threads give way on a shared machine; must run before torch is imported.

    GNU OpenMP threads wait for each other by spinning. Where another program takes a core, each short wait becomes a
    whole time slice, and a small model, whose waits are many, loses most of its speed. Sleeping after 2,000 spins
    keeps most of it, at a small price on a quiet machine.
    What the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")


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


def _processor() -> tuple[str, tuple[str, ...]]:
    if sys.platform == "darwin":
        return _sysctl("machdep.cpu.brand_string") or "unknown", ()
    return parse_cpuinfo(_read(Path("/proc/cpuinfo")))


def parse_cpuinfo(text: str) -> tuple[str, tuple[str, ...]]:
    """Processor name and the bf16 features in the text of Linux's `/proc/cpuinfo`."""
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
