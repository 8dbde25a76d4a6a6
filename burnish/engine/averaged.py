"""Optimizers that average the weights (schedule-free, arXiv 2405.15682): between steps the network holds the average.

The gradient is taken at another point than the one that is evaluated and saved: between the average and the weights
that the steps move. So the network is at that point from the beginning of a step to the end of its update, and at the
average otherwise: validation, checkpoints and results need not know of it, and a checkpoint has all that the next step
needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch

SCHEDULE_FREE = "schedule-free"
"""As `train.optimizer` names it."""


@runtime_checkable
class Averaging(Protocol):
    """What such an optimizer of the library has besides those of torch."""

    def train(self) -> None:
        """Moves the weights from the average to the point of the gradient."""
        ...

    def eval(self) -> None:
        """Moves them back."""
        ...


@contextmanager
def gradient_point(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """A context in which the weights are where the gradient is taken; inside of another one it does nothing.

    Without an update, that is after an error, they are afterwards exactly what they were before.

    Args:
        optimizer: of any kind; most take the gradient where the weights are.
    """
    if not isinstance(optimizer, Averaging) or optimizer.param_groups[0]["train_mode"]:
        yield
        return
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    before = [weight.detach().clone() for weight in weights]
    optimizer.train()
    try:
        yield
    except BaseException:
        with torch.no_grad():
            for weight, kept in zip(weights, before, strict=True):
                weight.copy_(kept)
        for group in optimizer.param_groups:
            group["train_mode"] = False
        raise
    optimizer.eval()
