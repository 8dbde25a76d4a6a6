"""Loss and gradients of a step that moves nothing, and how far two of them are apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from burnish.data.batches import Batch
from burnish.engine.random_state import seed_everything
from burnish.engine.step import Trainer

_SEED = 11


@dataclass(frozen=True, slots=True)
class Gradients:
    """What one forward and backward pass over a step gave."""

    loss: float
    """In nats."""
    by_name: dict[str, torch.Tensor]
    """Of each trained weight, fp32, on the CPU."""

    def apart(self, other: Gradients) -> float:
        """The largest relative difference, of the loss or of any gradient, this being the one that is right.

        A gradient's is `|a - b| / (|a| + r)` in Euclidean norms, `r` being the root mean square of all their norms:
        some gradients are zero but for rounding, such as those of the biases of keys. Infinite where a gradient is
        there on one side only, or anything is not a number.
        """
        if self.by_name.keys() != other.by_name.keys():
            return float("inf")
        norms = torch.stack([gradient.norm() for gradient in self.by_name.values()])
        off = torch.stack([(mine - other.by_name[name]).norm() for name, mine in self.by_name.items()])
        largest = float((off / (norms + norms.square().mean().sqrt())).max())
        loss = abs(self.loss - other.loss) / abs(self.loss) if self.loss else abs(other.loss)
        return max(largest, loss) if largest == largest and loss == loss else float("inf")


def gradients_of(trainer: Trainer, batches: Sequence[Batch]) -> Gradients:
    """Goes forward and backward over the micro-batches of one step, always with the same random numbers.

    Args:
        trainer: clips nothing; neither its weights nor its optimizer are changed.
        batches: of the step.
    """
    seed_everything(_SEED)
    loss = trainer.accumulate(batches)[0].item()
    named = trainer.network.named_parameters()
    found = {name: weight.grad.detach().float().cpu().clone() for name, weight in named if weight.grad is not None}
    trainer.forget_attempt()
    return Gradients(loss, found)
