"""What this machine has for training: packages, accelerators, memory, disk and the hub's cache. Reads only.

It must work on broken installations, so heavy packages are imported late and their failure is reported, not raised.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from burnish.system.machine import Machine, this_machine

_FEATURES = {
    "bitsandbytes": "base weights in 4 and 8 bits (`qlora`, `int8-lora`) and the 8-bit optimizer",
    "datasets": "datasets from the hub, and parquet files",
    "pillow": "images (`vision`)",
    "sentencepiece": "base models whose only tokenizer file is a `.model`",
}
"""Optional packages, and what each is needed for."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package that Burnish uses: the required and the installed version."""

    name: str
    wanted: str
    """The range of versions, as `>=2.11,<3`; empty if any will do."""
    version: str | None
    """The installed version, or None."""
    purpose: str = ""
    """What an optional package is for; empty if it is required."""

    @property
    def is_required(self) -> bool:
        """Whether Burnish needs it for every run."""
        return not self.purpose

    @property
    def state(self) -> str:
        """`ok`, `missing`, `too old`, `too new` or `not supported`."""
        return "missing" if self.version is None else compare(self.version, self.wanted)


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A device that torch sees."""

    name: str
    kind: str
    """`cuda`, `rocm` or `mps`."""
    memory_bytes: int
    capability: str
    """CUDA's compute capability, as `8.0`, or the name of the architecture; empty on MPS."""
    precision: str
    """The fastest number format that it supports well: `bf16`, `fp16` or `fp32`."""


@dataclass(frozen=True, slots=True)
class Torch:
    """The devices that torch sees, or why it cannot be imported."""

    accelerators: tuple[Accelerator, ...] = ()
    error: str = ""
    has_idle_gpu: bool = False
    """Whether there is an NVIDIA driver but this build of torch uses no GPU."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The state of this machine. Sizes are in bytes, None if unknown."""

    machine: Machine
    free_memory_bytes: int | None
    packages: tuple[Package, ...]
    torch: Torch
    runs: str
    """The folder that run folders are written to."""
    free_disk_bytes: int | None
    is_writable: bool
    """Whether run folders can be written there."""
    cache: str
    """The folder of the hub's cache."""
    cached_models: tuple[str, ...]
    is_offline: bool
    """Whether the environment forbids access to the hub."""


def take_inventory(runs: str) -> Inventory:
    """Inspects this machine, for runs that are written below the folder `runs`."""
    machine = this_machine()
    folder = _nearest(Path(runs))
    cache = _cache()
    return Inventory(
        machine=machine,
        free_memory_bytes=free_memory(machine.memory_bytes),
        packages=read_packages(),
        torch=_inspect_torch(),
        runs=runs,
        free_disk_bytes=_free_disk(folder),
        is_writable=folder.is_dir() and os.access(folder, os.W_OK | os.X_OK),
        cache=str(cache),
        cached_models=_cached_models(cache),
        is_offline=any(
            os.environ.get(name, "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
        ),
    )


_TRUE = ("1", "ON", "YES", "TRUE")
"""The values that `huggingface_hub` takes as true."""


def read_packages() -> tuple[Package, ...]:
    """The required and the optional packages, sorted by name."""
    try:
        needs = metadata.requires("burnish") or []
    except metadata.PackageNotFoundError:
        needs = []  # run from its source, uninstalled: the ranges are not available, the versions are
    wanted = dict(parse_need(need) for need in needs if applies_here(need))
    names = sorted({*wanted, *_FEATURES, "torch", "transformers", "tokenizers", "peft", "accelerate", "safetensors"})
    return tuple(Package(name, wanted.get(name, ""), _version(name), _FEATURES.get(name, "")) for name in names)


def applies_here(need: str) -> bool:
    """Whether a requirement counts on this machine and without any extra."""
    from packaging.requirements import Requirement

    marker = Requirement(need).marker
    return marker is None or marker.evaluate({"extra": ""})


def parse_need(need: str) -> tuple[str, str]:
    """Name and range of a requirement: `torch<3,>=2.11` is `torch` and `>=2.11,<3`."""
    from packaging.requirements import Requirement

    found = Requirement(need)
    return found.name.lower(), ",".join(sorted(map(str, found.specifier), reverse=True))


def compare(version: str, wanted: str) -> str:
    """`ok`, `too old`, `too new` or, for a version that is excluded by itself, `not supported`.

    Only the numbers of the release count: nightly builds and those of vendors, such as `2.13.0a0+git1234` and
    `2.13.0+cpu`, have what 2.13.0 has.

    Args:
        version: that is installed.
        wanted: a range as `pip` takes it; empty where any will do.
    """
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        here = Version(Version(version).base_version)
    except InvalidVersion:
        return "too old"  # from before versions had rules
    failed = [one for one in SpecifierSet(wanted) if not one.contains(here, prereleases=True)]
    if not failed:
        return "ok"
    if all(one.operator == "!=" for one in failed):
        return "not supported"
    lower = [Version(one.version.removesuffix(".*")) for one in failed if one.operator in (">=", ">", "~=", "==")]
    return "too old" if any(here <= bound for bound in lower) else "too new"


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _inspect_torch() -> Torch:
    """The devices that torch sees; a broken installation is returned as an error text, not raised."""
    try:
        import torch

        accelerators = tuple(_cuda_devices()) or tuple(_mps_devices())
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return Torch(error=" ".join(f"{type(error).__name__}: {error}".split())[:300])
    is_cuda_there = any(device.kind == "cuda" for device in accelerators)
    return Torch(accelerators, has_idle_gpu=_has_nvidia_driver() and not is_cuda_there and torch.version.hip is None)


def _cuda_devices() -> list[Accelerator]:
    import torch

    kind = "rocm" if torch.version.hip else "cuda"
    found = []
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = torch.cuda.get_device_properties(number)
        capability = f"{device.major}.{device.minor}"
        precision = precision_of(kind, device.major)
        if kind == "rocm":
            capability = getattr(device, "gcnArchName", capability)
        found.append(Accelerator(device.name, kind, device.total_memory, capability, precision))
    return found


def precision_of(kind: str, major: int) -> str:
    """The fastest number format of a GPU: NVIDIA has bf16 since capability 8 and fast fp16 since 7; ROCm has bf16."""
    if kind == "rocm" or major >= 8:
        return "bf16"
    return "fp16" if major >= 7 else "fp32"


def _mps_devices() -> list[Accelerator]:
    import torch

    if not torch.backends.mps.is_available():
        return []
    return [Accelerator(this_machine().processor, "mps", torch.mps.recommended_max_memory(), "", "fp32")]


def _has_nvidia_driver() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def free_memory(limit: int | None) -> int | None:
    """Memory available to a new process, within the container's limit."""
    try:
        import psutil
    except ImportError:
        return None
    free = psutil.virtual_memory().available
    return free if limit is None else min(free, limit)


def _nearest(folder: Path) -> Path:
    """The folder itself, or its nearest parent that exists."""
    return next((path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()), Path("/"))


def _free_disk(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _cache() -> Path:
    """The hub's cache folder by the rules of `huggingface_hub`, even if that is not installed."""
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError:
        home = os.environ.get("HF_HOME", "~/.cache/huggingface")
        return Path(os.environ.get("HF_HUB_CACHE", f"{home}/hub")).expanduser()
    return Path(HF_HUB_CACHE)


def _cached_models(cache: Path) -> tuple[str, ...]:
    """Names of the models whose configuration is in the cache: folders like `models--owner--name`."""
    found = {path.parts[len(cache.parts)] for path in cache.glob("models--*/snapshots/*/config.json")}
    return tuple(sorted(name.removeprefix("models--").replace("--", "/", 1) for name in found))
