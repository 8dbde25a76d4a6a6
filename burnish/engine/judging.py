"""A look at held-out rows without training on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch

from burnish.data.batches import Batch
from burnish.models.device import arithmetic
from burnish.tasks.judged import Judged
from burnish.tasks.task import Task


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out rows as they are judged; without batches where there are none."""

    batches: Sequence[Batch]
    """Hold every example once."""
    examples: Sequence[Any]
    owners: Sequence[int]
    """For each example, the number of its row, from 0."""


@torch.no_grad()
def judge(
    network: Any,
    task: Task,
    held_out: HeldOut,
    precision: str,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Judged:
    """The loss and the output of every held-out example.

    Args:
        network: on its device, in any mode; left in evaluation mode.
        task: gives losses and outputs.
        held_out: the rows.
        precision: of the arithmetic.
        tell: called with batches done and in all.
    """
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
