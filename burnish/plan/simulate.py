"""Simulates the real training step on fake tensors, tracking live bytes; extrapolates deep models from shallow ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from burnish.data.batching.batches import Batch
from burnish.engine.step import Trainer
from burnish.models.blocks import block_lists, held_tensors
from burnish.models.config import depth, period
from burnish.models.heads import split_model
from burnish.models.sharded import unit_names
from burnish.plan.live_storage import ACTIVATIONS, BATCH, GRADIENTS, OPTIMIZER, WEIGHTS, LiveStorage, Peak
from burnish.plan.roofline import Operation, Work, bytes_inside

BEGIN, HEAD, MOVE = "begin", "head", "move"
INPUTS = "inputs"
"""What comes after the backward pass of the first list of blocks, which is the last one: that of the embeddings."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """The results of simulating a step."""

    phases: dict[str, Peak]
    """Peaks of the step, by phase."""
    weights: int
    """Bytes of the weights, trained or not."""
    trained: int
    """Trained parameters."""
    work: Work
    """Arithmetic and traffic of the step."""
    tokens: int = 0
    """Tokens of the step, without padding."""
    blocks: tuple[int, ...] = ()
    """Bytes of the weights of each block in the first list of blocks."""
    outside: int = 0
    """Bytes of the weights outside of the blocks."""
    trained_outside: int = 0
    """Trained parameters outside of the blocks."""
    shared_outside: int = 0
    """Of these, in a matrix that is input and output layer at once: its two gradients and their sum are activations."""
    offloaded: int = 0
    """Bytes of CPU memory on each machine that hold what is kept off the devices."""
    is_bound: bool = False
    """Whether `phases` are a lower bound rather than exact."""

    @property
    def peak(self) -> Peak:
        """The largest peak of all phases."""
        return max(self.phases.values(), key=lambda peak: peak.total)


Enough = Callable[[Simulation], bool]
"""Whether the results up to the end of the blocks' forward pass are sufficient."""


def simulate(
    trainer: Trainer, batches: Sequence[Batch], outputs: int, has_gradients: bool = False, enough: Enough | None = None
) -> Simulation:
    """Runs a step, with the optimizer state already allocated, and measures it.

    Args:
        trainer: its network is on the CPU, of real or fake tensors; real weights are updated.
        batches: the micro-batches of the step.
        outputs: size of the model's output (vocabulary or labels).
        has_gradients: whether earlier micro-batches of the step have left gradients.
        enough: if it returns True, the step ends there, and the result is a lower bound.
    """
    work = Work()
    storage = LiveStorage(outputs, work.add, bytes_inside)
    storage.begin_phase(BEGIN)
    storage.hold(held_tensors(trainer.network), WEIGHTS)
    weights = storage.live
    for batch in batches:
        storage.hold(batch.tensors(), BATCH)
    trained = [weight for group in trainer.optimizer.param_groups for weight in group["params"]]
    storage.hold(_first_moments(trainer, trained), OPTIMIZER)
    if has_gradients:
        for weight in trained:
            weight.grad = torch.zeros_like(weight)
        storage.hold([weight.grad for weight in trained if weight.grad is not None], GRADIENTS)
    storage.forget_phases()
    storage.begin_phase(BEGIN)
    outside, trained_outside, shared_outside = _outside(trainer.network)
    seen = Simulation(
        storage.phases,
        weights,
        trained=sum(weight.numel() for weight in trained),
        work=work,
        tokens=sum(batch.num_tokens for batch in batches),
        blocks=tuple(_block_bytes(trainer.network)),
        outside=outside,
        trained_outside=trained_outside,
        shared_outside=shared_outside,
    )
    marks = _Marks(storage, seen, enough)
    try:
        with _marked(trainer.network, marks), _gradients_tracked(trained, storage), storage:
            trainer.accumulate(batches)
            storage.begin_phase(MOVE)
            trainer.update()
    except _EnoughSeen:
        trainer.discard_attempt()
        return replace(seen, is_bound=True)
    return seen


def _block_bytes(network: Any) -> Iterator[int]:
    for name in block_lists(network)[:1]:
        for block in network.get_submodule(name):
            yield sum(tensor.untyped_storage().nbytes() for tensor in held_tensors(block))


def _outside(network: Any) -> tuple[int, int, int]:
    """Bytes of the weights that are gathered for a whole pass, how many of them are trained, and how many of these are
    input and output layer at once."""
    units = tuple(f"{name}." for name in unit_names(network))
    outside = [weight for name, weight in network.named_parameters() if not name.startswith(units)]
    trained = sum(weight.numel() for weight in outside if weight.requires_grad)
    ends = (network.get_input_embeddings(), network.get_output_embeddings())
    first, last = (getattr(end, "weight", None) for end in ends)
    shared = first.numel() if first is not None and first is last and first.requires_grad else 0
    return sum(weight.numel() * weight.element_size() for weight in outside), trained, shared


def _first_moments(trainer: Trainer, trained: Sequence[torch.nn.Parameter]) -> Iterator[torch.Tensor]:
    """Makes the optimizer allocate its state, by an update with gradients of zero."""
    for weight in trained:
        weight.grad = torch.zeros_like(weight)
    trainer.update()
    for state in trainer.optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, torch.Tensor))


@contextmanager
def _gradients_tracked(trained: Sequence[torch.nn.Parameter], storage: LiveStorage) -> Iterator[None]:
    """Registers every gradient with the storage as soon as it is accumulated."""

    def track(weight: torch.Tensor) -> None:
        if weight.grad is not None:
            storage.hold([weight.grad], GRADIENTS)

    hooks = [weight.register_post_accumulate_grad_hook(track) for weight in trained]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _EnoughSeen(Exception):
    """Ends a step early."""


@contextmanager
def _marked(network: Any, marks: _Marks) -> Iterator[None]:
    """Starts a phase at each block, forward and backward: `forward LIST I`, `backward LIST I`, and `inputs`.

    With activation checkpointing the backward pass recomputes each block; that belongs to the backward phase.
    """
    halves = split_model(network)
    called = [network] if halves is None else [network, halves[0]]  # a loss may call only the body
    hooks = [one.register_forward_pre_hook(marks.begin_forward) for one in called]
    for number, name in enumerate(block_lists(network)):
        blocks = list(network.get_submodule(name))
        for index, block in enumerate(blocks):
            hooks.append(block.register_forward_pre_hook(marks.enter(number, index)))
            hooks.append(block.register_forward_hook(marks.leave(number, index, index == len(blocks) - 1)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _Marks:
    """Hooks that start phases."""

    def __init__(self, storage: LiveStorage, seen: Simulation, enough: Enough | None) -> None:
        self._storage = storage
        self._seen = seen
        self._enough = enough
        self._is_backward = False

    def begin_forward(self, module: Any, given: Any) -> None:
        """Runs when the network is called."""
        self._is_backward = False
        self._storage.begin_phase(BEGIN)

    def enter(self, number: int, index: int) -> Any:
        """A hook for when a block is called."""

        def mark_inputs(gradient: torch.Tensor) -> None:
            self._storage.begin_phase(INPUTS)

        def mark(module: Any, given: Any) -> None:
            if self._is_backward:
                return
            self._storage.begin_phase(f"forward {number} {index}")
            if number == index == 0 and given and isinstance(given[0], torch.Tensor) and given[0].requires_grad:
                given[0].register_hook(mark_inputs)

        return mark

    def leave(self, number: int, index: int, is_last: bool) -> Any:
        """A hook for when a block returns its output; the gradient of that output starts the backward phase."""

        def mark_backward(gradient: torch.Tensor) -> None:
            self._is_backward = True
            self._storage.begin_phase(f"backward {number} {index}")

        def mark(module: Any, given: Any, output: Any) -> None:
            if self._is_backward:
                return
            if is_last:
                self._storage.begin_phase(f"{HEAD} {number}")
                if self._enough is not None and self._enough(self._seen):
                    raise _EnoughSeen
            first = output[0] if isinstance(output, tuple) else output
            if isinstance(first, torch.Tensor) and first.requires_grad:
                first.register_hook(mark_backward)

        return mark


Run = Callable[[int | None, Enough | None], Simulation]
_FEW = 6
"""Number of blocks up to which a model is simulated directly."""
_SHALLOW = 2


def simulate_deep(config: Any, run: Run, is_uniform: bool, room: int | None = None) -> Simulation:
    """Simulates a step of a model, by two shallow copies if it is deep.

    Live bytes rise and fall by the same amount with every block, so within a pass over the blocks they are highest at
    one end. A phase at a fixed distance from the first or the last block is therefore a linear function of the depth,
    and the peak of the deep model is the largest of these phases.

    Args:
        config: of the model.
        run: simulates the model at a depth (None: the actual one), until the given callback has enough.
        is_uniform: whether the method treats every block alike.
        room: bytes beyond which a lower bound is enough; None for an exact result.
    """
    blocks, repeat = depth(config), period(config)
    first = _shallow_depth(blocks or 0, repeat)
    if blocks is None or not is_uniform or blocks <= max(_FEW, first + repeat):
        return run(None, None)
    depth_run = first + repeat

    def is_too_much(seen: Simulation) -> bool:
        return room is not None and _lower_bound(seen, depth_run, repeat, blocks).peak.total > room

    large = run(depth_run, is_too_much)
    if large.is_bound:
        return _lower_bound(large, depth_run, repeat, blocks)
    return extrapolate(run(first, None), first, large, depth_run, blocks)


def _lower_bound(shallow: Simulation, depth: int, repeat: int, blocks: int) -> Simulation:
    """A lower bound for a model of `blocks` blocks: adds their weights and what each keeps in the forward pass.

    The first block may keep more than the others, and after the last one its input is still live.
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
    """A depth that differs from the full one by whole periods, so that the last block is of the same kind."""
    offset = blocks % repeat
    return offset + repeat * -(-max(0, _SHALLOW - offset) // repeat)


def extrapolate(small: Simulation, small_depth: int, large: Simulation, large_depth: int, blocks: int) -> Simulation:
    """The simulation of a model of `blocks` blocks, extrapolated from two smaller depths."""
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
    outside = {name: getattr(small, name) for name in ("outside", "trained_outside", "shared_outside")}
    return Simulation(phases, weights, trained, work, small.tokens, **outside)


def _by_distance(simulation: Simulation, blocks: int) -> dict[str, Peak]:
    """Phases named by the distance of their block from the nearer end."""
    named = {}
    for name, peak in simulation.phases.items():
        *words, last = name.split()
        if words and words[0] in ("forward", "backward"):
            index = int(last)
            # Every block of the shallower model is named from one end or the other.
            last = str(index) if index < _SHALLOW // 2 else f"end-{blocks - 1 - index}"
        named[" ".join([*words, last])] = peak
    return named


def _extrapolate_counts(small: Counter[Operation], large: Counter[Operation], times: float) -> Counter[Operation]:
    """Counts of each operation: those of the shallow model, plus the increase per block times the blocks added."""
    return Counter(
        {one: count for one in small | large if (count := round(small[one] + (large[one] - small[one]) * times)) > 0}
    )
