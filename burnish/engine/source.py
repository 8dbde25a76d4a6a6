"""What the training loop takes its batches from, and batches built ahead of their step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Protocol

import torch

from burnish.data.batching.batches import Batch


class BatchSource(Protocol):
    """What the training loop takes its batches from.

    A planned source knows every step before the run begins. One that is not, for example because the model itself
    writes what it then learns from, makes the batches of a step when they are asked for, and not earlier.
    """

    examples: Sequence[Any]
    """Those that batches refer to, for naming the rows of a step."""

    @property
    def micro_tokens(self) -> int:
        """Most tokens of a micro-batch, padding included. May be set at any time."""
        ...

    @micro_tokens.setter
    def micro_tokens(self, tokens: int) -> None: ...

    @property
    def is_planned(self) -> bool:
        """Whether the batches of a step depend on neither weights nor earlier steps, so that they can be prefetched."""
        ...

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps that count as one epoch."""
        ...

    def step_batches(self, step: int) -> list[Batch]:
        """The micro-batches of an optimizer step, counted from 0. Asked again, the same examples in smaller pieces."""
        ...

    def step_examples(self, step: int) -> list[int]:
        """Indices of the examples of such a step, also of those that other processes compute."""
        ...

    def padded_tokens(self, step: int) -> int:
        """Tokens that go through the network in a step, padding included. Asked only where the batches are planned."""
        ...

    def micro_batch_sizes(self, step: int) -> list[tuple[int, int]]:
        """Rows and width in tokens of each micro-batch of a step whose batches have been asked for."""
        ...

    def halve_micro_batch(self, step: int) -> bool:
        """Halves the largest micro-batch of such a step; False where each is a single row already."""
        ...


class Prefetch:
    """Builds the batches of the next step in a thread while another device computes this one.

    On the CPU each is built when it is needed: there the cores are busy anyway, and a second thread that uses torch
    makes the barriers of the first one's threads slower.

    A context manager that ends the thread on exit. A planned batch depends only on seed and step, so it does not matter
    when it is built; batches of an unplanned source are built when they are needed.

    Args:
        source: the run's batches.
        total_steps: gives the steps of the run, which may grow; no batches are built beyond them.
        device: that computes; for CUDA the batches are put into memory that a GPU reads without the CPU.
    """

    def __init__(self, source: BatchSource, total_steps: Callable[[], int], device: torch.device) -> None:
        self._source = source
        self._pins = device.type == "cuda"
        self._total_steps = total_steps
        self._is_ahead = source.is_planned and device.type != "cpu"
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._next: tuple[tuple[int, int], Future[list[Batch]]] | None = None

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._worker.shutdown(wait=False)

    def take(self, step: int) -> list[Batch]:
        """The batches of a step; starts building those of the next one. Raises whatever building them raises."""
        pending, self._next = self._next, None
        if pending is not None and pending[0] == self._wanted(step):
            batches = pending[1].result()
        else:
            if pending is not None:
                pending[1].exception()  # waits for the thread: two must not read the plan's order at the same time
            batches = self._build(step)
        self._begin(step + 1)
        return batches

    def _build(self, step: int) -> list[Batch]:
        batches = self._source.step_batches(step)
        return [batch.pinned() for batch in batches] if self._pins else batches

    def _wanted(self, step: int) -> tuple[int, int]:
        return step, self._source.micro_tokens

    def _begin(self, step: int) -> None:
        if not self._is_ahead or step >= self._total_steps():
            return
        try:
            self._next = self._wanted(step), self._worker.submit(self._build, step)
        except RuntimeError:  # no memory for a thread: `take` builds the batches itself
            self._next = None
