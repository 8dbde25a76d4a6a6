"""`burnish doctor`: what this machine lacks for training, how to fix it, and what the machine can train."""

from __future__ import annotations

from dataclasses import dataclass

from burnish.system.inventory import Inventory, Package
from burnish.system.machine import gigabytes

_LITTLE = 2**30
"""Bytes of memory or disk below which even small models may fail."""
_SHARE = 0.7
"""Share of the memory for weights and their state; activations and logits need the rest."""
_OVERHEAD = 1.2
"""An adapter, its gradients and its optimizer state add at most a fifth to the base weights."""
_BYTES = {
    # fp32 weights and gradients and Adam's two moments, as in ZeRO, arXiv 1910.02054, section 3.1.
    "full": 16.0,
    # NF4 with its constants quantized once more takes 4.127 bits a weight: QLoRA, arXiv 2305.14314, section 3.
    "qlora": 4.127 / 8 * _OVERHEAD,
}
_WIDTH = {"fp32": 4, "bf16": 2, "fp16": 2}


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that is missing, or prevents training."""

    what: str
    fix: str
    """What to do, in one sentence."""
    is_fatal: bool = False
    """Whether Burnish cannot train until it is fixed."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is lacking, the most severe first, and one line on what the machine can train."""

    lacks: tuple[Lack, ...]
    verdict: str

    @property
    def can_train(self) -> bool:
        """Whether nothing required is missing."""
        return not any(lack.is_fatal for lack in self.lacks)


def diagnose(inventory: Inventory) -> Diagnosis:
    """Draws conclusions from an inventory, without inspecting the machine itself."""
    found = [*_package_lacks(inventory), *_device_lacks(inventory), *_space_lacks(inventory), *_hub_lacks(inventory)]
    lacks = tuple(sorted(found, key=lambda lack: not lack.is_fatal))
    fatal = sum(lack.is_fatal for lack in lacks)
    if fatal:
        first = "the first point is" if fatal == 1 else f"the first {fatal} points are"
        return Diagnosis(lacks, f"Burnish cannot train here until {first} fixed.")
    return Diagnosis(lacks, _ability(inventory))


def _package_lacks(inventory: Inventory) -> list[Lack]:
    lacks = [_package_lack(package) for package in inventory.packages if package.state != "ok"]
    has_torch = any(package.name == "torch" and package.version for package in inventory.packages)
    if inventory.torch.error and has_torch:
        fix = "Install it again: `pip install --force-reinstall torch`."
        lacks.append(Lack(f"torch is installed but does not start: {inventory.torch.error}", fix, is_fatal=True))
    return lacks


def _package_lack(package: Package) -> Lack:
    """A package that is missing, or whose version Burnish does not support."""
    fix = f'Run `pip install "{package.name}{package.wanted}"`.'
    use = f", for {package.purpose}" if package.purpose else ""
    if package.state == "missing":
        return Lack(f"{package.name} is missing{use}", fix, package.is_required)
    # A newer version probably works; an older one lacks functions that are called.
    what = f"{package.name} {package.version} is {package.state}{use}; Burnish supports {package.wanted}"
    return Lack(what, fix, package.is_required and package.state == "too old")


def _device_lacks(inventory: Inventory) -> list[Lack]:
    if inventory.torch.error or inventory.torch.accelerators:
        return []
    if inventory.torch.has_idle_gpu:
        fix = "Install a build of torch for CUDA, as described at https://pytorch.org/get-started/locally."
        return [Lack("there is an NVIDIA driver, but this torch does not use the GPU", fix)]
    return [Lack("there is no GPU", "Use small models, or train larger ones on a machine that has one.")]


def _space_lacks(inventory: Inventory) -> list[Lack]:
    lacks = []
    if not inventory.is_writable:
        fix = "Choose another folder with `--runs FOLDER`, or give yourself write permission there."
        lacks.append(Lack(f"run folders cannot be written to `{inventory.runs}`", fix, is_fatal=True))
    if inventory.free_disk_bytes is not None and inventory.free_disk_bytes < _LITTLE:
        fix = "Delete runs that are no longer needed, or choose a folder on another disk with `--runs FOLDER`."
        lacks.append(Lack(f"only {gigabytes(inventory.free_disk_bytes)} of disk is free for runs", fix))
    if inventory.free_memory_bytes is not None and inventory.free_memory_bytes < _LITTLE:
        fix = "Close other programs, or use the bundled models."
        lacks.append(Lack(f"only {gigabytes(inventory.free_memory_bytes)} of memory is free", fix))
    return lacks


def _hub_lacks(inventory: Inventory) -> list[Lack]:
    if not inventory.is_offline:
        return []
    fix = "Use a bundled model or a local folder, or unset HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE to download others."
    cached = len(inventory.cached_models)
    models = "1 hub model is" if cached == 1 else f"{cached or 'no'} hub models are"
    return [Lack(f"offline mode is set, and {models} cached", fix)]


def _ability(inventory: Inventory) -> str:
    """One line: the device, its precision, and the size of models that fit into its memory."""
    accelerators = inventory.torch.accelerators
    if accelerators:
        best = max(accelerators, key=lambda device: device.memory_bytes)
        where, precision, memory = f"on {best.name}", best.precision, best.memory_bytes
        if len(accelerators) > 1:
            where += f", the largest of {len(accelerators)} devices,"
    else:
        where, precision = "on the CPU", "bf16" if inventory.machine.has_fast_bf16 else "fp32"
        memory = inventory.free_memory_bytes or inventory.machine.memory_bytes
    if memory is None:
        return f"This machine trains {where} in {precision}; its memory cannot be read."
    methods = {"full": _BYTES["full"], "lora": _WIDTH[precision] * _OVERHEAD}
    if any(package.name == "bitsandbytes" and package.state == "ok" for package in inventory.packages):
        methods["qlora"] = _BYTES["qlora"]
    sizes = ", ".join(f"{_count(memory * _SHARE / size)} with `{method}`" for method, size in methods.items())
    slow = "" if accelerators else "; on a CPU, time is the limit rather than memory"
    return f"This machine trains {where} in {precision}; its memory holds models of about {sizes}{slow}."


def _count(parameters: float) -> str:
    """A number of parameters to two digits, as in model names: `1.3 B`, `22 B`, `350 M`."""
    unit, letter = (1e9, "B") if parameters >= 1e9 else (1e6, "M")
    value = float(f"{parameters / unit:.2g}")
    return f"{value:g} {letter}"
