"""How much memory a run may use: the free memory of the device, or the requested amount."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import torch

from burnish.plan.devices import Device, parse_memory
from burnish.system.machine import container_room, resident_bytes

CONTEXT_BYTES = 600 * 2**20
_COMING = {"fp32": 40 * 2**20, "bf16": 120 * 2**20, "fp16": 120 * 2**20}
"""By precision: products that oneDNN compiles for each shape (`system.machine.keep_few_products`), workspaces, heap
that is free but in pieces, and what training, evaluation and report import (bench/predictions.py)."""
_LATER = {"fp32": 24 * 2**20, "bf16": 64 * 2**20, "fp16": 64 * 2**20}
"""The part of it that is still to come after a few steps."""
KEPT_FREE = 0.1
"""Share of the memory that is left free."""
GIVEN = "`model.memory`"
"""The reason of a budget that the user gave."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """Memory used by something other than tensors."""

    name: str
    bytes: int
    source: str
    is_taken: bool = True
    """Whether it is in use already; the rest is yet to come, and leaves less for tensors."""
    is_settled: bool = False
    """Whether it is not measured again: this process has done more than the run will."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The memory of one device, and the part available to tensors."""

    device: str
    kind: str
    """`cpu`, `cuda`, `mps` …"""
    room: int
    """Bytes still available to the run, beyond what the process already uses; below 0 where it uses more than it was
    given."""
    overheads: tuple[Overhead, ...]
    """Memory of the run besides tensors; `room` does not count what is in use already."""
    reason: str
    allocator_share: float
    """Allocator overhead, as a share of the tensor bytes."""
    included: int = 0
    """Bytes that `reason` counts but `room` does not: of a whole process or device, what something else takes."""

    @property
    def taken(self) -> int:
        """Bytes in use already by something other than tensors."""
        return sum(one.bytes for one in self.overheads if one.is_taken)

    @property
    def coming(self) -> int:
        """Bytes that something other than tensors will take."""
        return sum(one.bytes for one in self.overheads if not one.is_taken)

    @property
    def tensors(self) -> int:
        """Bytes available to tensors, less a safety margin."""
        return max(0, int((self.room - self.coming) * (1 - KEPT_FREE) / (1 + self.allocator_share)))


def budget_here(device: torch.device, wanted: str | None, precision: str = "bf16") -> Budget:
    """The budget on this machine.

    Args:
        device: where the run takes place.
        wanted: `model.memory`: a size, or None for the free memory. On the CPU it is the size of the whole process.
        precision: of the arithmetic.

    Raises:
        InputError: `wanted` is not a size.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        reserved, name = torch.cuda.memory_reserved(device), torch.cuda.get_device_name(device)
        cached = reserved - torch.cuda.memory_allocated(device)
        context = Overhead("CUDA context", total - free - reserved, "measured: already in use")
        return _limited(Budget(name, "cuda", free + cached, (context,), "free on the GPU", _CACHING), wanted)
    if device.type == "mps":
        room = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return _limited(Budget("Apple GPU", "mps", room, (), "recommended by Metal", _CACHING), wanted)
    import psutil

    rooms = {
        "free on this machine": psutil.virtual_memory().available,
        "left under the cgroup limit": container_room(),
        "left under the limit on address space (`ulimit -v`)": _address_room(psutil.Process().memory_info().vms),
    }
    reason, room = min(((name, size) for name, size in rooms.items() if size is not None), key=lambda one: one[1])
    budget = Budget("this machine's memory", "cpu", room, _besides_tensors(precision), reason, 0.0)
    return _limited(budget, wanted, less=budget.taken)


def later_bytes(precision: str) -> int:
    """Bytes by which a process on the CPU still grows after the trial of a run."""
    return _LATER[precision]


def _besides_tensors(precision: str) -> tuple[Overhead, ...]:
    """What this process takes and will take besides tensors."""
    return (
        Overhead("Python and libraries", resident_bytes(), "measured: already in use"),
        Overhead("compiled products and imports", _COMING[precision], "typical on the CPU", is_taken=False),
    )


_CACHING = 0.05
"""The caching allocators of CUDA and MPS round block sizes up and keep blocks that fit no request: a few percent if
sizes repeat from step to step (PyTorch, "CUDA semantics: memory management")."""


def measured_again(budget: Budget) -> Budget:
    """The same budget with the current memory of this process, which grows as libraries are imported on first use."""
    if budget.kind != "cpu" or budget.overheads[0].is_settled:
        return budget
    return _with_taken(budget, replace(budget.overheads[0], bytes=resident_bytes()))


def settled(budget: Budget, libraries: int) -> Budget:
    """The budget of a run in another process, which has its own libraries, but not what this process has done since.

    Args:
        budget: on the CPU of this machine.
        libraries: bytes of a process that has only planned.
    """
    return _with_taken(budget, replace(budget.overheads[0], bytes=libraries, is_settled=True))


def _with_taken(budget: Budget, taken: Overhead) -> Budget:
    budget = replace(budget, overheads=(taken, *budget.overheads[1:]))
    if not budget.included:
        return budget
    return replace(budget, room=budget.room + budget.included - taken.bytes, included=taken.bytes)


def budget_of(device: Device, memory: int | None = None) -> Budget:
    """The budget on a device of the table.

    Args:
        device: of the table.
        memory: bytes, if different from the table's.
    """
    context = Overhead(
        "CUDA context", CONTEXT_BYTES, "0.5 to 0.6 GB with PyTorch 2 on cards since 2017; not counted by torch"
    )
    overheads = (context,) if device.kind in ("cuda", "rocm") else ()
    room = (memory or device.memory_bytes) - sum(one.bytes for one in overheads)
    if device.is_shared:
        room = int(room * _SHARED)
    included = sum(one.bytes for one in overheads)
    return Budget(device.name, device.kind, room, overheads, "memory of the device", _CACHING, included)


_SHARED = 0.75
"""Share of system memory that Metal recommends for the GPU at most."""


def _limited(budget: Budget, wanted: str | None, less: int = 0) -> Budget:
    """The budget with the size that the user gave, less what is in use of it."""
    if wanted is None:
        return budget
    room = parse_memory(wanted) - less
    return Budget(budget.device, budget.kind, room, budget.overheads, GIVEN, budget.allocator_share, less)


def _address_room(used: int) -> int | None:
    """Bytes of address space that the process may still map; None without a limit."""
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else max(0, limit - used)
