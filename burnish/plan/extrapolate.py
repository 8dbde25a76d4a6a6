"""From the steps of two shallow models to the step of a deep one: every block adds the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from burnish.models.depth import depth, period
from burnish.plan.live_storage import ACTIVATIONS, WEIGHTS, Peak
from burnish.plan.simulate import Enough, Simulation
from burnish.plan.work import Operation, Work

Run = Callable[[int | None, Enough | None], Simulation]
_FEW = 6
"""Blocks up to which a model is simulated whole."""
_SHALLOW = 2


def simulate_deep(config: Any, run: Run, is_uniform: bool, room: int | None = None) -> Simulation:
    """Simulates a step of a model, by two shallow copies of it where it is deep.

    Live bytes rise and fall by the same amount with every block, so within a pass over the blocks they are highest at
    one end. A phase at a fixed distance from the first or the last block is therefore a linear function of the depth,
    and the peak of the deep model is the largest of these phases.

    Args:
        config: of the model.
        run: simulates the model at a depth, or as it is for None; as far as what it is given says.
        is_uniform: whether the method treats every block alike.
        room: bytes beyond which nothing more has to be known than that the step takes more; None for no such number.
    """
    blocks, repeat = depth(config), period(config)
    first = _shallow_depth(blocks or 0, repeat)
    if blocks is None or not is_uniform or blocks <= max(_FEW, first + repeat):
        return run(None, None)
    depth_run = first + repeat

    def is_too_much(seen: Simulation) -> bool:
        return room is not None and _at_least(seen, depth_run, repeat, blocks).peak.total > room

    large = run(depth_run, is_too_much)
    if large.is_bound:
        return _at_least(large, depth_run, repeat, blocks)
    return extrapolate(run(first, None), first, large, depth_run, blocks)


def _at_least(shallow: Simulation, depth: int, repeat: int, blocks: int) -> Simulation:
    """What a model of `blocks` blocks takes at least: more weights, and what each block keeps in the forward pass.

    The first block may keep more than the others, and behind the last one its input is still there.
    """
    begins = [shallow.phases[f"forward 0 {index}"].begin for index in (depth - 1 - repeat, depth - 1)]
    periods = (blocks - depth) // repeat
    weights, kept = periods * sum(shallow.blocks[-repeat:]), periods * max(0, begins[1] - begins[0])
    parts = dict(shallow.peak.parts)
    parts[WEIGHTS] += weights
    parts[ACTIVATIONS] += kept
    peak = Peak(sum(parts.values()), parts)
    return Simulation({"at least": peak}, shallow.weights + weights, shallow.trained, Work(), is_bound=True)


def _shallow_depth(blocks: int, repeat: int) -> int:
    """A depth from which whole periods lead to the full one, so that the last block is of the same kind."""
    offset = blocks % repeat
    return offset + repeat * -(-max(0, _SHALLOW - offset) // repeat)


def extrapolate(small: Simulation, small_depth: int, large: Simulation, large_depth: int, blocks: int) -> Simulation:
    """The simulation of a model of `blocks` blocks, from those of two smaller depths."""
    times = (blocks - small_depth) / (large_depth - small_depth)

    def to_depth(low: int, high: int) -> int:
        return round(low + (high - low) * times)

    matched = _by_distance(small, small_depth), _by_distance(large, large_depth)
    phases = {}
    for name in matched[0].keys() & matched[1].keys():
        low, high = matched[0][name], matched[1][name]
        parts = {part: max(0, to_depth(low.parts[part], high.parts[part])) for part in low.parts}
        phases[name] = Peak(sum(parts.values()), parts)
    work = Work(_extrapolate_counts(small.work.operations, large.work.operations, times))
    weights, trained = to_depth(small.weights, large.weights), to_depth(small.trained, large.trained)
    return Simulation(phases, weights, trained, work, small.tokens)


def _by_distance(simulation: Simulation, blocks: int) -> dict[str, Peak]:
    """Phases named by how far their block is from the nearer end."""
    named = {}
    for name, peak in simulation.phases.items():
        *words, last = name.split()
        if words and words[0] in ("forward", "backward"):
            index = int(last)
            # Of the shallower model every block is named, from one end or the other.
            last = str(index) if index < _SHALLOW // 2 else f"end-{blocks - 1 - index}"
        named[" ".join([*words, last])] = peak
    return named


def _extrapolate_counts(small: Counter[Operation], large: Counter[Operation], times: float) -> Counter[Operation]:
    """How often each operation comes: as often as in the shallow model, and what the blocks between add, repeated."""
    return Counter(
        {one: count for one in small | large if (count := round(small[one] + (large[one] - small[one]) * times)) > 0}
    )
