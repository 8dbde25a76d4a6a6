"""Devices that one can plan for without having them: memory and speed as their makers give them."""

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

GIB = 2**30
_UNITS = {"mb": 2**20, "gb": 2**30, "tb": 2**40}
_MOST = 2**60
_MAKERS = re.compile(r"nvidia|geforce|tesla|apple|amd|instinct|sxm\d?|hbm\d?e?")
"""What drivers and shops add to a name, and what does not tell two devices of the table apart."""


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator. What is not known is None, and a rate that is not known is left out."""

    name: str
    kind: str
    """`cuda`, `rocm` or `mps`."""
    memory_bytes: int
    bandwidth: float | None = None
    """Bytes per second between the device and its memory."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Peak FLOP per second of dense matrix products, by `fp32`, `tf32`, `bf16` and `fp16`."""
    link: float | None = None
    """Bytes per second to another device of the kind, in one direction; None where there is no second one."""
    is_shared: bool = False
    """Whether the memory is also the system's."""
    source: str = ""
    """Title of the maker's datasheet or whitepaper."""

    def rate(self, precision: str) -> float:
        """Peak FLOP per second for `fp32`, `bf16` or `fp16`; what the device lacks it computes as fp32.

        Raises:
            InputError: no rate of the device is known, so no time can be told.
        """
        if not self.rates:
            raise InputError(
                f"how fast `{self.name}` computes is not known",
                "Nobody has published a rate for it, or only its memory was named.",
                "Name a device of the table with `--on` to see a time, for example `--on T4`",
            )
        return self.rates.get(precision, self.rates["fp32"])

    @property
    def precision(self) -> str:
        """The number format that the device does well.

        A device known by its memory alone is taken to be a CUDA device with bf16, as all since 2020 have it.
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

    `RTX 4070`, `rtx4070`, `4070` and `NVIDIA GeForce RTX 4070` are the same. A size after the name tells apart what
    is sold with several: `A100-80GB`; for memory shared with the system it sets the size: `M4 Pro 48GB`.

    Raises:
        InputError: no such device, or several of that name.
    """
    wanted = _plain(name)
    named = [device for device in load_devices() if wanted in _names(device)]
    if len(named) == 1:
        return named[0]
    if named:
        listed = " or ".join(f"`{device.name}`" for device in named)
        raise InputError(
            f"`{name}` could be {listed}", "They differ in memory.", f'Say which: `--on "{named[0].name}"`'
        )
    found = _with_other_memory(wanted)
    if found is None:
        raise _unknown(name)
    return found


def custom_device(memory_bytes: int) -> Device:
    """A device of which only the memory is known: what fits can be told, how long it takes cannot."""
    return Device(name=f"{memory_bytes / GIB:g} GB", kind="cuda", memory_bytes=memory_bytes, source="as asked")


def parse_memory(text: str) -> int:
    """Bytes of `12GB`, `12 GiB`, `512 MB` or `1.5TB`.

    Cards are sold in powers of two, so GB is 2**30 bytes here, the same as GiB; MB is 2**20 and TB 2**40.

    Raises:
        InputError: no unit, no number, or not more than nothing.
    """
    found = re.fullmatch(r"\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*([a-z]*)\s*", text, re.IGNORECASE)
    if found is None:
        raise InputError(f"`{text}` is no size of memory", "It is a number with a unit.", "Write, for example, `12GB`")
    unit = found[2].lower().replace("ib", "b")
    if unit not in _UNITS:
        why = f"`{found[2]}` is none of MB, GB and TB." if unit else "It could be megabytes or gigabytes."
        raise InputError(f"`{text}` names no unit of memory", why, f"Write `{found[1].lstrip('+-')}GB`")
    size = float(found[1]) * _UNITS[unit]
    if not 1 <= size < _MOST:
        why = "It must be more than nothing." if size < 1 else "No device has that much."
        raise InputError(f"`{text}` is no size of memory", why, "Write, for example, `12GB`")
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


def _plain(name: str) -> str:
    """A name without what does not matter."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    return "".join(word for word in words if not _MAKERS.fullmatch(word)).replace("gib", "gb")


def _names(device: Device) -> set[str]:
    """What a device may be called, plainly: with and without `rtx`, with and without its memory."""
    size = f"{device.memory_bytes // GIB}gb"
    bare = _plain(device.name).removesuffix(size)
    return {form + ending for form in (bare, bare.removeprefix("rtx")) for ending in ("", size)}


def _with_other_memory(wanted: str) -> Device | None:
    """The device that a name with another size of shared memory means: `m448gb` is an M4 with 48 GiB."""
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
    near = difflib.get_close_matches(_plain(name), list(called), n=1, cutoff=0.6)
    memory = "give its memory: `--memory 12GB`"
    return InputError(
        f"there is no device `{name}` in the table",
        f"It has {', '.join(device.name for device in load_devices())}.",
        f"Did you mean `{called[near[0]]}`? For any other, {memory}" if near else f"Name one of these, or {memory}",
    )
