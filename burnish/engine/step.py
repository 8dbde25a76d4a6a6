"""One optimizer step, and one look at the held-out rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from burnish.data.batches import Batch
from burnish.errors import BurnishError
from burnish.models.device import arithmetic
from burnish.tasks.task import Task


@dataclass(frozen=True, slots=True)
class StepResult:
    """What one optimizer step did."""

    loss: float
    """Mean loss per trained token over the whole step, in nats."""
    gradient_norm: float
    """Norm of the gradient before clipping."""
    tokens: int
    trained_tokens: int


class NotFinite(BurnishError):
    """The loss or the gradient became NaN or infinite; the optimizer has not moved."""


@dataclass(slots=True)
class Trainer:
    """What a step needs: the network, the optimizer and the numbers that do not change."""

    network: Any
    task: Task
    optimizer: torch.optim.Optimizer
    device: torch.device
    precision: str
    clip: float
    scaler: torch.amp.GradScaler

    def step(self, batches: Sequence[Batch]) -> StepResult:
        """Forward and backward over the micro-batches, then one move of the optimizer.

        The loss is the mean over the trained tokens of all micro-batches together, so accumulation equals one big
        batch however the tokens are spread.

        Raises:
            NotFinite: before the optimizer moves; no weight has changed.
            BurnishError: no token of the step is trained on.
        """
        trained_tokens = sum(batch.num_trained for batch in batches)
        if trained_tokens == 0:
            raise BurnishError("a step holds no trained token", "Its rows have labels for none of their tokens.")
        self.network.train()
        total = torch.zeros((), device=self.device)
        for batch in batches:
            with arithmetic(self.device, self.precision):
                loss = self.task.token_losses(self.network, batch.to(self.device)).sum() / trained_tokens
            self.scaler.scale(loss).backward()
            total += loss.detach()
        self.scaler.unscale_(self.optimizer)
        norm = self._clip_gradient()
        loss_value, norm_value = total.item(), norm.item()
        if not math.isfinite(loss_value) or not (math.isfinite(norm_value) or self.scaler.is_enabled()):
            self.optimizer.zero_grad(set_to_none=True)
            raise NotFinite(f"the loss became {loss_value} (gradient norm {norm_value})")
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return StepResult(loss_value, norm_value, sum(batch.num_tokens for batch in batches), trained_tokens)

    def _clip_gradient(self) -> torch.Tensor:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        return torch.nn.utils.clip_grad_norm_(parameters, self.clip or math.inf)

    @torch.no_grad()
    def validate(self, batches: Sequence[Batch]) -> float:
        """Mean loss per trained token of the held-out rows, in nats."""
        self.network.eval()
        total, count = 0.0, 0
        for batch in batches:
            with arithmetic(self.device, self.precision):
                losses = self.task.token_losses(self.network, batch.to(self.device))
            total += losses.double().sum().item()
            count += batch.num_trained
        return total / count
