"""The next step's batches, made while the device works on this step."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from burnish.data.batch_plan import BatchPlan
from burnish.data.batches import Batch


class BatchesAhead:
    """Gives the batches of one step after the other; a context manager, which ends its thread.

    What a batch holds follows from seed and step alone, so it is the same whoever makes it, and when.

    Args:
        plan: of the run.
        total_steps: of the run; none is made beyond them.
    """

    def __init__(self, plan: BatchPlan, total_steps: int) -> None:
        self._plan = plan
        self._total_steps = total_steps
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._next: tuple[tuple[int, int], Future[list[Batch]]] | None = None

    def __enter__(self) -> BatchesAhead:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)

    def take(self, step: int) -> list[Batch]:
        """The batches of a step; those of the next one are begun. Raises whatever making them raises."""
        begun, self._next = self._next, None
        if begun is not None and begun[0] == self._wanted(step):
            batches = begun[1].result()
        else:
            if begun is not None:
                begun[1].exception()  # two threads must not read the plan's order at once
            batches = self._plan.step_batches(step)
        self._begin(step + 1)
        return batches

    def _wanted(self, step: int) -> tuple[int, int]:
        return step, self._plan.micro_tokens

    def _begin(self, step: int) -> None:
        if step >= self._total_steps:
            return
        try:
            self._next = self._wanted(step), self._worker.submit(self._plan.step_batches, step)
        except RuntimeError:  # no memory for a thread
            self._next = None
