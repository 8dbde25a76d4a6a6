"""The real training step, run on tensors that hold no numbers (or on real ones), with its live bytes followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from burnish.data.batches import Batch
from burnish.engine.step import Trainer
from burnish.models.blocks import block_lists, held_tensors
from burnish.models.output_layer import split_model
from burnish.plan.live_storage import BATCH, GRADIENTS, OPTIMIZER, WEIGHTS, LiveStorage, Peak
from burnish.plan.work import Work, bytes_inside

BEGIN, HEAD, MOVE = "begin", "head", "move"


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a step was seen to do."""

    phases: dict[str, Peak]
    """Peaks of the step, by phase."""
    weights: int
    """Bytes of the weights, trained or not."""
    trained: int
    """Trained parameters."""
    work: Work
    """Arithmetic and traffic of the step."""
    tokens: int = 0
    """Tokens that the step reads, without padding."""
    blocks: tuple[int, ...] = ()
    """Bytes of the weights of each block of the first list of blocks."""
    is_bound: bool = False
    """Whether the step takes at least what `phases` say, rather than just that."""

    @property
    def peak(self) -> Peak:
        """The largest of all phases."""
        return max(self.phases.values(), key=lambda peak: peak.total)


Enough = Callable[[Simulation], bool]
"""Whether what was seen up to the end of the blocks' forward pass tells enough."""


def simulate(
    trainer: Trainer, batches: Sequence[Batch], outputs: int, has_gradients: bool = False, enough: Enough | None = None
) -> Simulation:
    """Takes a step, after the optimizer has its memory, and looks at it.

    Args:
        trainer: whose network, on the CPU, holds numbers or not; with numbers, its weights move.
        batches: the micro-batches of the step.
        outputs: size of the model's output (vocabulary or labels).
        has_gradients: whether earlier micro-batches of the step have left gradients already.
        enough: where it says yes, the step ends there, and what was seen is a bound.
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
    seen = Simulation(
        storage.phases,
        weights,
        trained=sum(weight.numel() for weight in trained),
        work=work,
        tokens=sum(batch.num_tokens for batch in batches),
        blocks=tuple(_block_bytes(trainer.network)),
    )
    marks = _Marks(storage, seen, enough)
    try:
        with _marked(trainer.network, marks), _gradients_told(trained, storage), storage:
            trainer.accumulate(batches)
            storage.begin_phase(MOVE)
            trainer.move()
    except _EnoughSeen:
        trainer.forget_attempt()
        return replace(seen, is_bound=True)
    return seen


def _block_bytes(network: Any) -> Iterator[int]:
    for name in block_lists(network)[:1]:
        for block in network.get_submodule(name):
            yield sum(tensor.untyped_storage().nbytes() for tensor in held_tensors(block))


def _first_moments(trainer: Trainer, trained: Sequence[torch.nn.Parameter]) -> Iterator[torch.Tensor]:
    """Lets the optimizer make its memory, by a move along no gradient."""
    for weight in trained:
        weight.grad = torch.zeros_like(weight)
    trainer.move()
    for state in trainer.optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, torch.Tensor))


@contextmanager
def _gradients_told(trained: Sequence[torch.nn.Parameter], storage: LiveStorage) -> Iterator[None]:
    """Tells the storage of every gradient as soon as it is kept."""

    def tell(weight: torch.Tensor) -> None:
        if weight.grad is not None:
            storage.hold([weight.grad], GRADIENTS)

    hooks = [weight.register_post_accumulate_grad_hook(tell) for weight in trained]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _EnoughSeen(Exception):
    """Ends a step."""


@contextmanager
def _marked(network: Any, marks: _Marks) -> Iterator[None]:
    """Begins a phase at each block, forward and backward: `forward LIST I`, `backward LIST I`.

    With activation checkpointing the backward pass runs each block forward again; that belongs to the backward phase.
    """
    halves = split_model(network)
    called = [network] if halves is None else [network, halves[0]]  # a loss may call the body alone
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
    """Hooks that begin phases."""

    def __init__(self, storage: LiveStorage, seen: Simulation, enough: Enough | None) -> None:
        self._storage = storage
        self._seen = seen
        self._enough = enough
        self._is_backward = False

    def begin_forward(self, module: Any, given: Any) -> None:
        """The network is called."""
        self._is_backward = False
        self._storage.begin_phase(BEGIN)

    def enter(self, number: int, index: int) -> Any:
        """A block is called."""

        def mark(module: Any, given: Any) -> None:
            if not self._is_backward:
                self._storage.begin_phase(f"forward {number} {index}")

        return mark

    def leave(self, number: int, index: int, is_last: bool) -> Any:
        """A block has given its output; when the gradient comes back to it, its backward pass begins."""

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
