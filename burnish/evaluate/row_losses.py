"""The loss of every single row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy
import torch

from burnish.data.batches import Batch
from burnish.data.row import IGNORED
from burnish.models.device import arithmetic
from burnish.tasks.task import Task


@torch.no_grad()
def row_losses(
    network: Any,
    task: Task,
    batches: Sequence[Batch],
    owners: Sequence[int],
    precision: str,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Summed loss and trained tokens of each row.

    Args:
        network: on its device, in any mode; left in evaluation mode.
        task: gives the loss of each token.
        batches: hold every example once.
        owners: for each example, the number of its row, from 0.
        precision: of the arithmetic.
        tell: called with batches done and in all.

    Returns:
        `[rows]` float64 sums in nats, and `[rows]` int64 counts; rows without examples are left out.
    """
    network.eval()
    device = next(network.parameters()).device
    rows = max(owners) + 1
    sums, counts = numpy.zeros(rows), numpy.zeros(rows, dtype=numpy.int64)
    for done, batch in enumerate(batches, 1):
        with arithmetic(device, precision):
            losses = task.token_losses(network, batch.to(device)).double().cpu()
        trained = batch.targets != IGNORED
        placed = torch.zeros(batch.targets.shape, dtype=torch.float64)
        placed[trained] = losses
        for example, (row, begin, end) in zip(batch.examples, batch.spans, strict=True):
            sums[owners[example]] += placed[row, begin:end].sum().item()
            counts[owners[example]] += int(trained[row, begin:end].sum())
        tell(done, len(batches))
    seen = counts > 0
    return sums[seen], counts[seen]
