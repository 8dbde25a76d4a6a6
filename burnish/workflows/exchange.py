"""`burnish doctor --processes N`: whether processes can train together here, and how fast they exchange gradients."""

from __future__ import annotations

import platform
import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

from burnish.engine.process import Process
from burnish.system.machine import all_versions, memory_size

_TENSOR_BYTES = 32 << 20
_SMALL, _LARGE = 50, 3
"""How often a few numbers and a large tensor are exchanged."""
_MOST_CLOCK_SECONDS = 5.0
"""Clocks that differ by more make logs of several machines hard to compare, and file times misleading."""


@dataclass(frozen=True, slots=True)
class ExchangeReport:
    """What was measured."""

    processes: int
    machines: int
    is_exact: bool
    """Whether every process got the right sum of a tensor."""
    exchange_seconds: float
    """Median time in which a few numbers are added up."""
    bytes_per_second: float
    """At which a process sends a large tensor that is added up, by the ring algorithm."""
    clock_seconds: float
    """By which the clocks differ."""
    other_versions: list[str]
    """Packages of which not every process has the same version."""

    @property
    def problems(self) -> list[str]:
        """What keeps them from training together, or should be fixed, as sentences."""
        found = [] if self.is_exact else ["The processes did not get the right sum of a tensor."]
        if self.other_versions:
            named = ", ".join(f"`{name}`" for name in self.other_versions)
            found.append(f"The processes have different versions of {named}: install the same everywhere.")
        if self.clock_seconds > _MOST_CLOCK_SECONDS:
            found.append(f"Their clocks differ by {self.clock_seconds:.0f} s: set them by the network.")
        return found

    @property
    def can_train(self) -> bool:
        """Whether `burnish train` would start."""
        return self.is_exact and not self.other_versions

    @property
    def verdict(self) -> str:
        """In a sentence."""
        if not self.can_train:
            return f"{self.processes} processes cannot train together here yet."
        return f"{self.processes} processes can train together here."

    def lines(self) -> list[tuple[str, str]]:
        """Names and values for the terminal."""
        where = "this machine" if self.machines == 1 else f"{self.machines} machines"
        speed = f"{memory_size(int(self.bytes_per_second))} a second from each process"
        return [
            ("processes", f"{self.processes} on {where}"),
            ("sum of a tensor", "exact" if self.is_exact else "WRONG"),
            ("a few numbers", f"{1e3 * self.exchange_seconds:.2f} ms; a step exchanges some four times"),
            ("large tensors", speed),
            ("clocks", f"within {self.clock_seconds:.2f} s"),
            ("versions", "the same" if not self.other_versions else f"different: {', '.join(self.other_versions)}"),
        ]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {**asdict(self), "can_train": self.can_train, "verdict": self.verdict, "problems": self.problems}


def measure_exchange(process: Process, device: torch.device) -> ExchangeReport:
    """Measures sums, speed, clocks and versions; all processes call it, and get the same report.

    Args:
        process: of those that are to train together.
        device: of this process.
    """
    numbers = _TENSOR_BYTES // 4
    tensor = torch.full((numbers,), float(process.rank + 1), device=device)
    process.add_up([tensor])
    expected = float(sum(range(1, process.world + 1)))
    is_exact = bool((tensor == expected).all())
    small = [_seconds(lambda: process.total([1.0] * 8)) for _ in range(_SMALL)]
    large = [_seconds(lambda: _add_up(process, tensor)) for _ in range(_LARGE)]
    process.barrier("measured")
    found = process.gather((is_exact, time.time(), all_versions(), platform.node()))
    versions = [versions for _, _, versions, _ in found]
    clocks = [clock for _, clock, _, _ in found]
    sent = 2 * _TENSOR_BYTES * (process.world - 1) / process.world
    report = ExchangeReport(
        processes=process.world,
        machines=len({host for *_, host in found}),
        is_exact=all(one for one, *_ in found),
        exchange_seconds=statistics.median(small),
        bytes_per_second=sent / statistics.median(large),
        clock_seconds=max(clocks) - min(clocks),
        other_versions=sorted({name for one in versions for name in one if one[name] != versions[0].get(name)}),
    )
    return process.decide(lambda: report)


def _add_up(process: Process, tensor: torch.Tensor) -> None:
    process.add_up([tensor.fill_(1.0)])
    float(tensor[0])  # a GPU has then done it


def _seconds(work: Any) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
