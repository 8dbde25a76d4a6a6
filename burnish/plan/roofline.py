"""How long a step takes on a device that is not here, from its counted work and what the device's maker names.

An operation takes as long as its arithmetic or its traffic does, whichever is longer: the roofline model of Williams,
Waterman and Patterson (Communications of the ACM 52(4), 2009). No device reaches its named rates, and how near it comes
depends on shapes and software, so a time always comes with its bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from burnish.plan.devices import Device
from burnish.plan.work import Work


@dataclass(frozen=True, slots=True)
class Reach:
    """What a device makes of its named rates."""

    matrices: float
    """Share of the peak rate that matrix products reach."""
    bandwidth: float
    """Share of the memory's bandwidth."""
    launch: float
    """Seconds that the host needs to start one operation."""


BEST = Reach(matrices=0.8, bandwidth=0.9, launch=5e-6)
"""Large products of good shapes come to 80 % (H100) and 87 % (A100) of the peak: table of maximum achievable matmul
FLOPS in S. Bekman, Machine Learning Engineering. Of the bandwidth, tensors above 100 MB come to 90 %: Calculon (Isaev
and others, SC 2023), its description of an A100. A call that launches a kernel takes 5 microseconds and more."""
WORST = Reach(matrices=0.4, bandwidth=0.6, launch=13e-6)
"""Of the peak, whole trainings reach 33 to 39 % (torchtitan, Llama 3.1 8B on H100) and 38 to 43 % (The Llama 3 Herd of
Models, arXiv 2407.21783). Of the bandwidth, tensors of 1 MB come to 60 % (Calculon, as above). Written in Python, an
operation costs more than its launch: Qwen-1.8B takes 1.0 s for 8 micro-batches, whether their rows hold 256 or 512
tokens (the README of Qwen), so it waits for the host: some 9,200 operations each, 13 microseconds an operation."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """Tokens per second, and between what they lie."""

    tokens_per_second: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """Seconds, and between what they lie. The estimate is as many times the low bound as the high one is of it."""

    seconds: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.seconds:.3g} s ({self.low:.3g} to {self.high:.3g} s)"

    @classmethod
    def between(cls, low: float, high: float) -> TimeEstimate:
        """The estimate that its two bounds are equally far from, as a ratio."""
        return cls(math.sqrt(low * high), low, high)

    def times(self, count: float) -> TimeEstimate:
        """So many of it, one after the other."""
        return TimeEstimate(self.seconds * count, self.low * count, self.high * count)

    def throughput(self, tokens: int) -> Throughput:
        """Tokens per second where this many tokens take the time."""
        return Throughput(tokens / self.seconds, tokens / self.high, tokens / self.low)


def estimate_time(work: Work, device: Device, best: Reach = BEST, worst: Reach = WORST) -> TimeEstimate | None:
    """How long the counted work takes on a device.

    The host starts operations ahead of the device. At best one side's time hides behind the other's; at worst every
    launch is waited for.

    Args:
        work: counted in the precision that it is to run in.
        device: of the table.
        best: what the device makes of its rates for the low bound.
        worst: the same for the high bound.

    Returns:
        None where the device's rates or its bandwidth are not known: then no time can be told.
    """
    quick, slow = busy_seconds(work, device, best), busy_seconds(work, device, worst)
    if quick is None or slow is None:
        return None
    launches = sum(work.operations.values())
    return TimeEstimate.between(max(quick, launches * best.launch), slow + launches * worst.launch)


def busy_seconds(work: Work, device: Device, reach: Reach) -> float | None:
    """Seconds that the device computes or moves bytes, by the roofline; starting operations is left out.

    Returns:
        None where the device's rates or its bandwidth are not known.
    """
    if not device.rates or device.bandwidth is None:
        return None
    bandwidth = device.bandwidth * reach.bandwidth
    seconds = 0.0
    for one, times in work.operations.items():
        rate = device.rate(one.precision) * reach.matrices
        seconds += times * max(one.flops / rate, one.traffic / bandwidth)
    return seconds
