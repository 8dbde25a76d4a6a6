"""Devices to plan for without having them: memory and speed as specified by their makers."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from burnish.errors import InputError
from burnish.system.machine import memory_size

GIB = 2**30
_UNITS = {"mb": 2**20, "gb": 2**30, "tb": 2**40}
_MOST = 2**60
_MAKERS = re.compile(r"nvidia|geforce|tesla|apple|amd|instinct|sxm\d?|hbm\d?e?")
"""Words in device names that do not distinguish devices of the table."""


@dataclass(frozen=True, slots=True)
class Device:
    """An accelerator. Unknown values are None, and unknown rates are left out."""

    name: str
    kind: str
    """`cuda`, `rocm` or `mps`."""
    memory_bytes: int
    bandwidth: float | None = None
    """Bytes per second between the device and its memory."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Peak FLOP per second of dense matrix products, by `fp32`, `tf32`, `bf16` and `fp16`."""
    link: float | None = None
    """Bytes per second to another such device, in one direction; None if there is no such link."""
    is_shared: bool = False
    """Whether the memory is shared with the system."""
    source: str = ""
    """Title of the maker's datasheet or whitepaper."""

    def rate(self, precision: str) -> float:
        """Peak FLOP per second for `fp32`, `bf16` or `fp16`; formats that the device lacks are computed as fp32.

        Raises:
            InputError: no rate of the device is known, so its time cannot be estimated.
        """
        if not self.rates:
            raise InputError(
                f"the speed of `{self.name}` is not known",
                "No rate is published for it, or only its memory was given.",
                "Choose a device from the table with `--on`, for example `--on T4`",
            )
        return self.rates.get(precision, self.rates["fp32"])

    @property
    def precision(self) -> str:
        """The fastest precision of the device.

        A device known only by its memory is assumed to be a CUDA device with bf16, like all since 2020.
        """
        if "bf16" in self.rates or (self.kind == "cuda" and not self.rates):
            return "bf16"
        return "fp16" if self.kind == "cuda" else "fp32"


@functools.cache
def load_devices() -> list[Device]:
    """Every device of the table, in its order."""
    import yaml

    text = resources.files("burnish").joinpath("assets/devices.yaml").read_text(encoding="utf-8")
    return [_device(entry) for entry in yaml.safe_load(text)]


def find_device(name: str) -> Device:
    """A device by its name; case, spaces, hyphens and the maker's name do not matter.

    `RTX 4070`, `rtx4070`, `4070` and `NVIDIA GeForce RTX 4070` are the same. A size after the name selects among
    several: `A100-80GB`; for memory shared with the system it sets the size: `M4 Pro 48GB`.

    Raises:
        InputError: no such device, or several with that name.
    """
    wanted = _normalized(name)
    named = [device for device in load_devices() if wanted in _names(device)]
    if len(named) == 1:
        return named[0]
    if named:
        listed = " or ".join(f"`{device.name}`" for device in named)
        raise InputError(
            f"`{name}` could be {listed}", "They differ in memory.", f'Name one of them: `--on "{named[0].name}"`'
        )
    found = _with_other_memory(wanted)
    if found is None:
        raise _unknown(name)
    return found


def custom_device(memory_bytes: int) -> Device:
    """A device of which only the memory is known: enough to plan memory, but not time."""
    size = f"{memory_bytes / GIB:g} GB" if memory_bytes >= GIB else memory_size(memory_bytes)
    return Device(name=size, kind="cuda", memory_bytes=memory_bytes, source="as asked")


def parse_memory(text: str) -> int:
    """Bytes of `12GB`, `12 GiB`, `512 MB` or `1.5TB`.

    Cards are sold in powers of two, so GB is 2**30 bytes here, the same as GiB; MB is 2**20 and TB 2**40.

    Raises:
        InputError: there is no unit or number, or the size is not positive.
    """
    found = re.fullmatch(r"\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*([a-z]*)\s*", text, re.IGNORECASE)
    if found is None:
        raise InputError(
            f"`{text}` is not a memory size", "A memory size is a number with a unit.", "Write, for example, `12GB`"
        )
    unit = found[2].lower().replace("ib", "b")
    if unit not in _UNITS:
        why = f"`{found[2]}` is not one of MB, GB and TB." if unit else "It could be megabytes or gigabytes."
        raise InputError(f"`{text}` has no valid unit of memory", why, f"Write `{found[1].lstrip('+-')}GB`")
    size = float(found[1]) * _UNITS[unit]
    if not 1 <= size < _MOST:
        why = "It must be greater than 0." if size < 1 else "No device has that much."
        raise InputError(f"`{text}` is not a memory size", why, "Write, for example, `12GB`")
    return int(size)


def _device(entry: Mapping[str, Any]) -> Device:
    """An entry of the table, in bytes, bytes per second and FLOP per second."""
    link = entry.get("link")
    return Device(
        name=entry["name"],
        kind=entry["kind"],
        memory_bytes=entry["memory_gib"] * GIB,
        bandwidth=entry["bandwidth"] * 1e9,
        rates={precision: teraflops * 1e12 for precision, teraflops in entry.get("rates", {}).items()},
        link=None if link is None else link * 1e9,
        is_shared=entry.get("is_shared", False),
        source=entry["source"],
    )


def _normalized(name: str) -> str:
    """A name in normalized form: lower case, without separators and makers' names."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    return "".join(word for word in words if not _MAKERS.fullmatch(word)).replace("gib", "gb")


def _names(device: Device) -> set[str]:
    """Normalized names of a device: with and without `rtx`, with and without its memory."""
    size = f"{device.memory_bytes // GIB}gb"
    bare = _normalized(device.name).removesuffix(size)
    return {form + ending for form in (bare, bare.removeprefix("rtx")) for ending in ("", size)}


def _with_other_memory(wanted: str) -> Device | None:
    """The device for a name with a different size of shared memory: `m448gb` is an M4 with 48 GiB."""
    text = wanted.removesuffix("gb")
    for device in load_devices() if text != wanted else ():
        for called in _names(device):
            size = text.removeprefix(called)
            if device.is_shared and text != size and size.isdecimal() and int(size) > 0:
                return dataclasses.replace(device, memory_bytes=int(size) * GIB)
    return None


def _unknown(name: str) -> InputError:
    """The error for a name that no device has."""
    called = {plain: device.name for device in load_devices() for plain in _names(device)}
    near = difflib.get_close_matches(_normalized(name), list(called), n=1, cutoff=0.6)
    memory = "give its memory: `--memory 12GB`"
    return InputError(
        f"there is no device `{name}` in the table",
        f"The table has {', '.join(device.name for device in load_devices())}.",
        f"Did you mean `{called[near[0]]}`? For any other, {memory}" if near else f"Name one of these, or {memory}",
    )
