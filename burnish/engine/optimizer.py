"""AdamW, with weight decay where it belongs, and the learning rate of each step."""

from __future__ import annotations

import math
from typing import Any

import torch

from burnish.recipe.schema import TrainSection


def make_optimizer(network: Any, train: TrainSection) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101) over the trainable weights; biases, norms and other vectors do not decay."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": train.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    rate = float(train.learning_rate)
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=rate, betas=train.betas, fused=True)


def learning_rate_at(step: int, total_steps: int, train: TrainSection) -> float:
    """The learning rate of a step, counted from 0: a linear rise, then the schedule's fall towards 0.

    The rise takes `warmup * total_steps` steps, rounded, and never the whole run; its first step already moves, at
    1/(n+1) of the peak for a rise of n steps. Cosine is half a period (arXiv 1608.03983).
    """
    peak = float(train.learning_rate)
    rising = min(round(train.warmup * total_steps), total_steps - 1)
    if step < rising:
        return peak * (step + 1) / (rising + 1)
    if train.schedule == "constant":
        return peak
    done = (step - rising) / max(1, total_steps - rising)
    return peak * (1 - done if train.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done)))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every parameter group the same rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate
