"""The largest piece of work that fits: which method, how many rows at once, and whether activations are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from burnish.plan.live_storage import OPTIMIZER, WEIGHTS, Peak
from burnish.plan.simulate import Simulation

CHOICES = ("full", "lora", "qlora")
"""The methods that `auto` chooses from: the best first, the one that takes least last."""
SMALL, LARGE = 1_000, 10_000
"""Training rows below which overfitting threatens, and above which full fine-tuning pays."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run a step."""

    method: str
    micro_rows: int
    """Rows of the context length in memory at once."""
    checkpointing: bool


@dataclass(frozen=True, slots=True)
class Fit:
    """A way, what it takes, and whether that is little enough."""

    way: Way
    simulation: Simulation
    fits: bool


Simulate = Callable[[Way, int | None], Simulation]
"""Simulates a step; beyond so many bytes, it need not tell more than that the step takes more."""


def methods_for(rows: int | None) -> tuple[tuple[str, ...], str]:
    """The methods to try, best first, for so many training rows (None: not known); and why."""
    if rows is None:
        return CHOICES, "no data was named, so memory alone decides"
    if rows < SMALL:
        reason = f"under {SMALL:,} rows a model trained in full learns them by heart; an adapter has less to do so with"
        return CHOICES[1:], reason
    if rows <= LARGE:
        reason = f"with {SMALL:,} to {LARGE:,} rows an adapter learns as well as the whole model, in less memory"
        return CHOICES[1:], reason
    return CHOICES, f"above {LARGE:,} rows the whole model has something to learn from"


def find_fit(
    methods: Sequence[str], rows: Sequence[int], checkpointing: Sequence[bool], run: Simulate, room: int
) -> Fit:
    """The first way that fits, from the best method to the least.

    Fewer rows at once and activations computed again change time, never the result; so both are tried before a method
    of less quality. Of the ways that fit with a method, the one that keeps activations goes first, then the one with
    more rows.

    Args:
        methods: the best first.
        rows: micro-batches to choose from, the largest first.
        checkpointing: whether activations may be kept, or computed again, or both.
        run: simulates a step.
        room: bytes that tensors may take.

    Returns:
        The fit; where nothing fits, the way that takes least.
    """
    least: Fit | None = None
    for method in methods:
        for again in checkpointing:
            larger: Fit | None = None
            for number in _few(rows):
                way = Way(method, number, again)
                bound = None if larger is None else _at_least(larger, number)
                seen = run(way, room) if bound is None or bound.peak.total <= room else bound
                fit = Fit(way, seen, not seen.is_bound and seen.peak.total <= room)
                if fit.fits:
                    return _grown(fit, larger, rows, run, room)
                larger = fit
                if least is None or seen.peak.total < least.simulation.peak.total:
                    least = fit
    assert least is not None  # there is always a method, and always a micro-batch
    return Fit(least.way, run(least.way, None), False) if least.simulation.is_bound else least


def _at_least(larger: Fit, rows: int) -> Simulation:
    """What a smaller micro-batch takes at least: all but what belongs to the weights, cut like the rows."""
    peak, whole = larger.simulation.peak, (WEIGHTS, OPTIMIZER)
    fixed = sum(peak.parts.get(part, 0) for part in whole)
    total = fixed + (peak.total - fixed) * rows // larger.way.micro_rows
    parts = {part: size if part in whole else size * rows // larger.way.micro_rows for part, size in peak.parts.items()}
    return replace(larger.simulation, phases={"at least": Peak(total, parts)}, is_bound=True)


def _few(rows: Sequence[int]) -> list[int]:
    """The largest and the smallest: if the one does not fit and the other does, the best lies between."""
    return list(dict.fromkeys((rows[0], rows[-1])))


def _grown(fit: Fit, largest: Fit | None, rows: Sequence[int], run: Simulate, room: int) -> Fit:
    """The largest micro-batch that fits, for a way that fits with the smallest.

    Live bytes grow with the rows along a line, or where one phase takes over from another along a curve that bends
    upwards; so a line between two sizes is never too low, and what it lets through is simulated only to be sure.
    """
    if largest is None:
        return fit
    low, high = fit.simulation.peak.total, largest.simulation.peak.total
    each = (high - low) / (largest.way.micro_rows - fit.way.micro_rows)
    for number in rows[1:-1]:
        if low + each * (number - fit.way.micro_rows) > room:
            continue
        way = Way(fit.way.method, number, fit.way.checkpointing)
        seen = run(way, room)
        if not seen.is_bound and seen.peak.total <= room:
            return Fit(way, seen, True)
    return fit
