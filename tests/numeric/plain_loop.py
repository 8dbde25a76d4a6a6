"""The reference: training written out in plain PyTorch, one example at a time, with nothing of Burnish in it.

No packing, no padding, no accumulation of batches, no fused optimizer, no scheduler object: only the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class PlainStep:
    """What one step did, measured before it moved the weights."""

    loss: float
    gradient_norm: float
    learning_rate: float


@dataclass(frozen=True)
class PlainSettings:
    """The numbers of a run."""

    peak_rate: float
    warmup_steps: int
    total_steps: int
    beta1: float
    beta2: float
    weight_decay: float
    clip: float
    epsilon: float = 1e-8


def plain_loop(
    network: Any, steps: Sequence[Sequence[tuple[list[int], list[int]]]], settings: PlainSettings
) -> list[PlainStep]:
    """Trains on the given examples, step by step; each is its token ids and its labels (-100: not trained)."""
    weights = [parameter for parameter in network.parameters() if parameter.requires_grad]
    first_moments = [torch.zeros_like(weight) for weight in weights]
    second_moments = [torch.zeros_like(weight) for weight in weights]
    network.train()
    events = []
    for number, examples in enumerate(steps):
        for weight in weights:
            weight.grad = torch.zeros_like(weight)
        trained = sum(label != -100 for _, labels in examples for label in labels[1:])
        total = 0.0
        for ids, labels in examples:
            loss = summed_loss(network, ids, labels)
            (loss / trained).backward()
            total += loss.item()
        norm = math.sqrt(sum(weight.grad.double().square().sum().item() for weight in weights))
        rate = cosine_rate(number, settings)
        scale = min(1.0, settings.clip / (norm + 1e-6))
        with torch.no_grad():
            for weight, first, second in zip(weights, first_moments, second_moments, strict=True):
                adamw(weight, weight.grad * scale, first, second, number + 1, rate, settings)
        events.append(PlainStep(total / trained, norm, rate))
    return events


def summed_loss(network: Any, ids: list[int], labels: list[int]) -> torch.Tensor:
    """Negative log-likelihood of every trained token, given the tokens before it; summed, in nats."""
    logits = network(input_ids=torch.tensor([ids])).logits[0]
    total = torch.zeros(())
    for position in range(1, len(ids)):
        if labels[position] != -100:
            total = total - torch.log_softmax(logits[position - 1], dim=-1)[labels[position]]
    return total


def cosine_rate(step: int, settings: PlainSettings) -> float:
    """Linear from peak/(w+1) up to the peak, then half a cosine down towards 0."""
    if step < settings.warmup_steps:
        return settings.peak_rate * (step + 1) / (settings.warmup_steps + 1)
    share = (step - settings.warmup_steps) / (settings.total_steps - settings.warmup_steps)
    return settings.peak_rate * 0.5 * (1 + math.cos(math.pi * share))


def adamw(
    weight: torch.Tensor,
    gradient: torch.Tensor,
    first: torch.Tensor,
    second: torch.Tensor,
    step: int,
    rate: float,
    settings: PlainSettings,
) -> None:
    """AdamW as in arXiv 1711.05101, algorithm 2, in place; only matrices decay."""
    if weight.ndim >= 2:
        weight -= rate * settings.weight_decay * weight
    first.copy_(settings.beta1 * first + (1 - settings.beta1) * gradient)
    second.copy_(settings.beta2 * second + (1 - settings.beta2) * gradient.square())
    unbiased_first = first / (1 - settings.beta1**step)
    unbiased_second = second / (1 - settings.beta2**step)
    weight -= rate * unbiased_first / (unbiased_second.sqrt() + settings.epsilon)
