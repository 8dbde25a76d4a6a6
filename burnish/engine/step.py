"""One optimizer step, and one validation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from burnish.data.batching.batches import Batch
from burnish.engine.optimizer import make_optimizer, reserve_moments
from burnish.engine.random_state import seed_everything
from burnish.engine.validation import HeldOut, judge
from burnish.errors import BurnishError, MachineError
from burnish.methods.method import Method
from burnish.metrics.measure import Measure
from burnish.metrics.measure import value as value_of
from burnish.models.device import RAISED, arithmetic, free_memory, ran_out
from burnish.models.heads import Target
from burnish.recipe.schema import Recipe
from burnish.tasks.task import Task


@dataclass(frozen=True, slots=True)
class StepResult:
    """The result of one optimizer step."""

    loss: float
    """Mean loss over all terms of the step, in nats."""
    gradient_norm: float
    """Norm of the gradient before clipping."""
    tokens: int
    trained_tokens: int


@dataclass(frozen=True, slots=True)
class Validation:
    """The result of one validation."""

    loss: float
    """Mean loss, in nats."""
    figures: dict[str, float]
    """The task's own metrics by name."""
    score: float
    """The task's main metric, or the negated loss: higher is better."""
    measures: list[Measure] = field(compare=False)
    """The loss, and the main metric if it is another, with the contribution of every row."""
    chance: Measure | None = field(compare=False)
    """The loss of predicting the label frequencies, if the task has it."""


class NotFinite(BurnishError):
    """The loss or the gradient became NaN or infinite; no weight has changed."""


class HalfMoved(MachineError):
    """Memory ran out during the optimizer's update: some weights may be updated, others not."""


@dataclass(slots=True)
class Trainer:
    """Everything that a step needs: the network, the optimizer and constants."""

    network: Any
    task: Task
    optimizer: torch.optim.Optimizer
    device: torch.device
    precision: str
    clip: float
    scaler: torch.amp.GradScaler

    def step(self, batches: Sequence[Batch]) -> StepResult:
        """Forward and backward over the micro-batches, then one optimizer update.

        The loss is the mean over the trained tokens (or rows, or pairs) of all micro-batches together, so gradient
        accumulation equals one large batch however the rows are divided.

        Raises:
            NotFinite: the loss or gradient is not finite; no weight has changed.
            HalfMoved: memory ran out during the update.
            MemoryError, RuntimeError: memory ran out before the update (see `ran_out`); no weight has changed, and
                after `forget_attempt` the step can be repeated.
            BurnishError: no token of the step is trained on.
        """
        trained_tokens = sum(batch.num_trained for batch in batches)
        if trained_tokens == 0:
            raise BurnishError("a step has no trained tokens", "None of the tokens in its rows has a label.")
        loss, norm = self.accumulate(batches)
        loss_value, norm_value = loss.item(), norm.item()  # the only wait for the GPU in a step
        if not math.isfinite(loss_value) or not (math.isfinite(norm_value) or self.scaler.is_enabled()):
            self.drop_gradient()
            raise NotFinite(f"the loss became {loss_value} (gradient norm {norm_value})")
        self.move()
        return StepResult(loss_value, norm_value, sum(batch.num_tokens for batch in batches), trained_tokens)

    def accumulate(self, batches: Sequence[Batch]) -> tuple[torch.Tensor, torch.Tensor]:
        """Forward and backward over the micro-batches; leaves the clipped gradient in the parameters.

        Returns:
            The mean loss, and the gradient norm before clipping, as 0-dimensional tensors: nothing here reads their
            values, so that the GPU is not synchronized and the step can be simulated.
        """
        trained_tokens = sum(batch.num_trained for batch in batches)
        self.network.train()
        with torch.no_grad(), arithmetic(self.device, self.precision):
            self.task.begin_step(self.network, (batch.to(self.device) for batch in batches))
        total = torch.zeros((), device=self.device)
        for batch in batches:
            # divided by the tokens of the whole step, so that the sum over micro-batches is the mean of one big batch
            with arithmetic(self.device, self.precision):
                loss = self.task.losses(self.network, batch.to(self.device)).sum() / trained_tokens
            self.scaler.scale(loss).backward()
            total += loss.detach()
        self.scaler.unscale_(self.optimizer)  # before clipping, which compares the true norm with the limit
        return total, self._clip_gradient()

    def move(self) -> None:
        """Updates the weights and frees the gradient.

        Raises:
            HalfMoved: memory ran out during the update.
        """
        reserve_moments(self.optimizer)
        try:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        except RAISED as error:
            if not ran_out(error):
                raise
            raise HalfMoved("memory ran out while the weights were being updated") from error
        self.drop_gradient()

    def forget_attempt(self) -> None:
        """Discards a step that ran out of memory before the update, and frees its memory."""
        self.drop_gradient()
        if self.scaler.is_enabled():
            # the old scaler may have recorded that this step's gradient is unscaled, and would raise on the second try
            state = self.scaler.state_dict()
            self.scaler = torch.amp.GradScaler(self.device.type)
            self.scaler.load_state_dict(state)
        free_memory()

    def drop_gradient(self) -> None:
        """Frees the gradient without an update."""
        self.optimizer.zero_grad(set_to_none=True)

    def _clip_gradient(self) -> torch.Tensor:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        return torch.nn.utils.clip_grad_norm_(parameters, self.clip or math.inf)

    def validate(self, held_out: HeldOut) -> Validation:
        """Loss and metrics on the held-out rows."""
        judged = judge(self.network, self.task, held_out, self.precision)
        measures = self.task.measures(judged)
        loss = judged.loss()
        headline = next((one for one in measures if one.name == self.task.headline), loss)
        score = value_of(headline) if headline.higher_is_better else -value_of(headline)
        figures = {one.name: value_of(one) for one in measures}
        compared = [loss] if headline is loss else [loss, headline]
        return Validation(value_of(loss), figures, score, compared, self.task.chance(judged))


def make_trainable(
    network: Any, task: Task, method: Method, recipe: Recipe, tokenizer: Any, new_modules: tuple[str, ...]
) -> Any:
    """Creates the method's weights from the recipe's seed and makes them and the new modules trainable.

    Args:
        network: the base model.
        task: may exclude modules from training.
        method: selects the weights.
        recipe: the resolved recipe.
        tokenizer: the model's tokenizer.
        new_modules: modules with random initial weights.

    Returns:
        The network to train, which may wrap the base model.
    """
    seed_everything(recipe.seed)
    kept_out = task.kept_out(network)
    untouched = [network.get_submodule(name) for name in kept_out]
    trainable = method.apply(network, recipe, Target(task.head.peft_type, new_modules, tokenizer, kept_out))
    for module in untouched:
        module.requires_grad_(False)
    if recipe.train.gradient_checkpointing is True:
        network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        network.enable_input_require_grads()
    return trainable


def make_trainer(network: Any, task: Task, method: Method, recipe: Recipe, device: torch.device) -> Trainer:
    """A trainer for a trainable network, with a new optimizer."""
    return Trainer(
        network=network,
        task=task,
        optimizer=make_optimizer(network, recipe.train, method.rate_factors(network, recipe)),
        device=device,
        precision=recipe.model.precision,
        clip=recipe.train.clip,
        scaler=torch.amp.GradScaler(device.type, enabled=recipe.model.precision == "fp16" and device.type != "cpu"),
    )
