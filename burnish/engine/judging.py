"""A look at held-out rows without training on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch

from burnish.data.batch_plan import BatchPlan
from burnish.data.batches import Batch
from burnish.engine.out_of_memory import RAISED, RowTooLarge, free_memory, ran_out
from burnish.models.device import arithmetic
from burnish.tasks.judged import Judged
from burnish.tasks.task import Task


@dataclass(slots=True)
class HeldOut:
    """The held-out rows as they are judged; without batches where there are none."""

    batches: Sequence[Batch]
    """Hold every example once."""
    examples: Sequence[Any]
    owners: Sequence[int]
    """For each example, the number of its row, from 0."""
    plan: BatchPlan | None = None
    """Makes the batches, and smaller ones where these do not fit."""

    @classmethod
    def of(cls, plan: BatchPlan, owners: Sequence[int]) -> HeldOut:
        """Everything that a plan holds."""
        return cls(plan.all_batches(), plan.examples, owners, plan)

    def halve(self) -> bool:
        """Makes the batches half as large; False where each is a single row already."""
        if self.plan is None or not self.plan.halve_micro_batch(None):
            return False
        self.batches = self.plan.all_batches()
        return True

    def padded_tokens(self) -> int:
        """Tokens that go through the network in one judging."""
        if self.plan is None:
            return sum(batch.num_tokens for batch in self.batches)
        return self.plan.padded_tokens(None)

    def longest_row(self) -> int:
        """Tokens of the longest row of the batches."""
        if self.plan is None:
            return max(example.num_tokens for example in self.examples)
        return max(width for _, width in self.plan.micro_batch_sizes(None))

    def limit(self, micro_tokens: int) -> None:
        """Makes the batches anew, of at most so many tokens."""
        if self.plan is not None and self.plan.micro_tokens != micro_tokens:
            self.plan.micro_tokens = micro_tokens
            self.batches = self.plan.all_batches()


@torch.no_grad()
def judge(
    network: Any,
    task: Task,
    held_out: HeldOut,
    precision: str,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Judged:
    """The loss and the output of every held-out example. Where memory runs out, from the start in smaller batches.

    Args:
        network: on its device, in any mode; left in evaluation mode.
        task: gives losses and outputs.
        held_out: the rows.
        precision: of the arithmetic.
        tell: called with batches done and in all.

    Raises:
        RowTooLarge: memory runs out even with one row at a time.
    """
    while True:
        try:
            return _judge(network, task, held_out, precision, tell)
        except RAISED as error:
            if not ran_out(error):
                raise
        free_memory()
        if not held_out.halve():
            raise RowTooLarge(held_out.longest_row())


def _judge(network: Any, task: Task, held_out: HeldOut, precision: str, tell: Callable[[int, int], None]) -> Judged:
    network.eval()
    device = next(network.parameters()).device
    number = len(held_out.examples)
    sums, counts = numpy.zeros(number), numpy.zeros(number, dtype=numpy.int64)
    outputs: list[Any] = [None] * number
    with arithmetic(device, precision):
        task.begin_step(network, (batch.to(device) for batch in held_out.batches))
    for done, batch in enumerate(held_out.batches, 1):
        with arithmetic(device, precision):
            outcome = task.judge(network, batch.to(device))
        owners = batch.owners.numpy()
        numpy.add.at(sums, owners, outcome.losses.double().cpu().numpy())
        numpy.add.at(counts, owners, 1)
        for example, output in zip(batch.examples, outcome.outputs, strict=bool(outcome.outputs)):
            outputs[example] = output
        tell(done, len(held_out.batches))
    return Judged(held_out.examples, held_out.owners, outputs, sums, counts)
