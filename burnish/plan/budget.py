"""How much memory a run may use: what is free on the device, or what was asked for."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import torch

from burnish.plan.devices import Device, parse_memory
from burnish.system.machine import container_room

CONTEXT_BYTES = 600 * 2**20
_KEPT_FREE = 0.1


@dataclass(frozen=True, slots=True)
class Overhead:
    """Memory that no tensor takes."""

    name: str
    bytes: int
    source: str


@dataclass(frozen=True, slots=True)
class Budget:
    """The memory of one device, and what of it tensors may take."""

    device: str
    kind: str
    """`cpu`, `cuda`, `mps` …"""
    room: int
    """Bytes that the run may still take, besides what the process has already."""
    overheads: tuple[Overhead, ...]
    """What the run takes besides tensors; those that are taken already are told and not counted again."""
    reason: str
    allocator_share: float
    """What the allocator adds to the bytes of tensors."""

    @property
    def tensors(self) -> int:
        """Bytes that tensors may take, with a margin kept free."""
        return max(0, int(self.room * (1 - _KEPT_FREE) / (1 + self.allocator_share)))


def budget_here(device: torch.device, wanted: str | None) -> Budget:
    """The budget on this machine.

    Args:
        device: where the run takes place.
        wanted: `model.memory`: a size, or None for what is free.

    Raises:
        InputError: `wanted` is no size.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info()
        cached = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        context = Overhead("CUDA context", total - free - torch.cuda.memory_reserved(), "measured: taken already")
        return _limited(
            Budget(torch.cuda.get_device_name(), "cuda", free + cached, (context,), "free on the GPU", _CACHING), wanted
        )
    if device.type == "mps":
        room = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return _limited(Budget("Apple GPU", "mps", room, (), "recommended by Metal", _CACHING), wanted)
    import psutil

    process = psutil.Process().memory_info()
    rooms = {
        "free on this machine": psutil.virtual_memory().available,
        "left under the limit of the control group": container_room(),
        "left under the limit on address space (`ulimit -v`)": _address_room(process.vms),
    }
    reason, room = min(((name, size) for name, size in rooms.items() if size is not None), key=lambda one: one[1])
    taken = Overhead("Python and libraries", process.rss, "measured: taken already")
    return _limited(Budget("this machine's memory", "cpu", room, (taken,), reason, 0.0), wanted)


_CACHING = 0.05
"""The caching allocators of CUDA and MPS round blocks up and keep some that fit nothing: a few per cent where sizes
repeat from step to step (PyTorch, "CUDA semantics: memory management")."""


def measured_again(budget: Budget) -> Budget:
    """The same budget, with what this process has taken by now: libraries are imported when they are first used."""
    if budget.kind != "cpu":
        return budget
    import psutil

    taken = replace(budget.overheads[0], bytes=psutil.Process().memory_info().rss)
    return replace(budget, overheads=(taken,))


def budget_of(device: Device, memory: int | None = None) -> Budget:
    """The budget on a device that is not here.

    Args:
        device: of the table.
        memory: bytes, where it has other than the table's.
    """
    context = Overhead(
        "CUDA context", CONTEXT_BYTES, "0.5 to 0.6 GB with PyTorch 2 on cards since 2017; not counted by torch"
    )
    overheads = (context,) if device.kind in ("cuda", "rocm") else ()
    room = (memory or device.memory_bytes) - sum(one.bytes for one in overheads)
    if device.is_shared:
        room = int(room * _SHARED)
    return Budget(device.name, device.kind, room, overheads, "memory of the device", _CACHING)


_SHARED = 0.75
"""Of memory shared with the system, what Metal recommends for the GPU at most."""


def _limited(budget: Budget, wanted: str | None) -> Budget:
    if wanted is None:
        return budget
    room = parse_memory(wanted)
    return Budget(budget.device, budget.kind, room, budget.overheads, "`model.memory`", budget.allocator_share)


def _address_room(used: int) -> int | None:
    """Bytes of address space that the process may still map; None without a limit."""
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else max(0, limit - used)
