"""One optimizer step, one validation, and how a network becomes trainable."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from burnish.data.batching.batches import Batch
from burnish.engine.averaged import gradient_point
from burnish.engine.noise import add_embedding_noise
from burnish.engine.optimizer import allocate_moments, head_factors, layer_factors, make_optimizer, set_learning_rate
from burnish.engine.process import ONE, Process
from burnish.engine.random_state import random_tensors, random_values, restore_random, seed_everything
from burnish.engine.validation import HeldOut, evaluate_rows, out_of_memory_sharded
from burnish.errors import BurnishError, MachineError
from burnish.methods.method import Method
from burnish.metrics.measure import Measure
from burnish.metrics.measure import value as value_of
from burnish.models.device import RAISED, arithmetic, free_memory, ran_out, seed_torch
from burnish.models.heads import Target
from burnish.models.sharded import compute, is_sharded, whole
from burnish.recipe.schema import Recipe
from burnish.tasks.evaluated import EvaluatedExamples
from burnish.tasks.task import Objective, Task


@dataclass(frozen=True, slots=True)
class StepResult:
    """The result of one optimizer step."""

    loss: float
    """Mean loss over all terms of the step, in nats."""
    gradient_norm: float
    """Norm of the gradient before clipping."""
    tokens: int
    trained_tokens: int
    attempts: int
    """Forward and backward passes that it took: more than one where the gradient was too large for fp16's scale."""


@dataclass(frozen=True, slots=True)
class Validation:
    """The result of one validation."""

    loss: float
    """Mean loss, in nats."""
    figures: dict[str, float]
    """The task's own metrics by name."""
    score: float
    """The task's main metric, or the negated loss: higher is better."""
    measures: list[Measure]
    """The loss, and the main metric if that is not the loss, with the contribution of every row."""
    chance: Measure | None
    """The loss of predicting the label frequencies without the input; None if the task has no labels."""
    sources: dict[str, float] = field(default_factory=dict)
    """The loss on the rows of each of several sources."""
    evaluated: EvaluatedExamples | None = None
    """The results of every row."""


_LEAST_SCALE = 1.0
"""A gradient that is infinite at this loss scale is not so because of fp16's range."""


class NotFinite(BurnishError):
    """The loss or the gradient became NaN or infinite; no weight has changed."""


class PartialUpdate(MachineError):
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
    process: Process = ONE
    """Of those that compute each step together, each on some of its micro-batches."""

    def step(self, batches: Sequence[Batch], learning_rate: float | None = None) -> StepResult:
        """One optimizer step: set the rate, forward and backward over the micro-batches, clip, check, update.

        Args:
            batches: the micro-batches of the step that this process computes.
            learning_rate: of this step; None keeps the optimizer's.

        Raises:
            NotFinite: before the update; no weight has changed.
            PartialUpdate: memory ran out during the update.
            MemoryError, RuntimeError: memory ran out before the update (see `models.device.ran_out`); no weight has
                changed, and after `discard_attempt` the step can be tried again.
            BurnishError: the step has no trained tokens.
        """
        own = sum(batch.num_trained for batch in batches), sum(batch.num_tokens for batch in batches)
        trained_tokens, num_tokens = map(int, self.process.total(own))
        if trained_tokens == 0:
            raise BurnishError("a step has no trained tokens", "None of the tokens in its rows has a label.")
        if learning_rate is not None:
            set_learning_rate(self.optimizer, learning_rate)
        with gradient_point(self.optimizer):
            loss_value, norm_value, attempts = self._learn(batches, trained_tokens)
        return StepResult(loss_value, norm_value, num_tokens, trained_tokens, attempts)

    def _learn(self, batches: Sequence[Batch], trained_tokens: int) -> tuple[float, float, int]:
        """Forward, backward and update, repeated while the gradient is too large for fp16's scale.

        Returns:
            The loss, the norm of the gradient, and the number of attempts.
        """
        attempts = 0
        while True:
            attempts += 1
            generators = (random_tensors(), random_values()) if self.scaler.is_enabled() else None
            loss, norm = self.accumulate(batches, trained_tokens)
            # the only values read from the device, together: until here, its work was only queued, so the CPU did not
            # wait
            loss_value, norm_value = torch.stack([loss.float(), norm.float()]).tolist()
            if math.isfinite(loss_value) and math.isfinite(norm_value):
                break
            if generators is None or not math.isfinite(loss_value) or not self._lowers_scale():
                self.drop_gradient()
                raise NotFinite(f"the loss became {loss_value} (gradient norm {norm_value})")
            restore_random(*generators)
        self.update()
        return loss_value, norm_value, attempts

    def _lowers_scale(self) -> bool:
        """After a gradient too large for fp16: halves the scale and discards the gradient; False if that cannot help.

        The step is then repeated. Skipped instead, as `GradScaler` is often used, its rows would be lost, and the
        learning-rate schedule would go on without it: the first steps of a run, which find the scale, are its warm-up.
        """
        self.scaler.update()  # `unscale_` has found the infinite gradient
        self.drop_gradient()
        return self.scaler.get_scale() >= _LEAST_SCALE

    def accumulate(
        self, batches: Sequence[Batch], trained_tokens: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Forward and backward over the micro-batches; leaves the clipped gradient in the parameters.

        Args:
            batches: those that this process computes.
            trained_tokens: of the step in all processes; None for those of `batches`.

        Returns:
            The mean loss, and the gradient norm before clipping, as 0-dimensional tensors. Their values
            are not read here, so that the GPU is not synchronized and the step can be simulated.
        """
        # The trained tokens of the whole step, not of each micro-batch: a mean of means would weight tokens by how full
        # their micro-batch is. This way the sum over micro-batches is the mean over one big batch.
        if trained_tokens is None:
            trained_tokens = sum(batch.num_trained for batch in batches)
        self.network.train()
        if self.process.is_alone:
            self._begin(batches)
            total = self._backward(batches, trained_tokens)
        elif is_sharded(self.network):
            total = self._backward_sharded(batches, trained_tokens)
        else:
            total = self._backward_together(batches, trained_tokens)
        # gradients are clipped at their true size, so they are unscaled first
        self.scaler.unscale_(self.optimizer)
        parameters = [weight for weight in self._weights() if weight.grad is not None]
        # without clipping (0), an infinite limit still gives the norm
        norm = torch.nn.utils.clip_grad_norm_(parameters, self.clip or math.inf)
        return total, whole(norm).to(total.device)  # of offloaded gradients it is in CPU memory

    def _weights(self) -> list[torch.nn.Parameter]:
        return [weight for group in self.optimizer.param_groups for weight in group["params"]]

    def _begin(self, batches: Sequence[Batch]) -> None:
        with torch.no_grad(), arithmetic(self.device, self.precision):
            ready = (self._ready(batch) for batch in batches)
            compute(self.network, self.task.objective.begin_step, ready)

    def _backward(self, batches: Sequence[Batch], trained_tokens: int) -> torch.Tensor:
        """Adds the gradient of every micro-batch to the parameters; returns the sum of the losses."""
        total = torch.zeros((), device=self.device)
        for batch in batches:
            with arithmetic(self.device, self.precision):
                losses = compute(self.network, self.task.objective.losses, self._ready(batch))
                loss = losses.sum() / trained_tokens
                if batch.is_spare:
                    loss = loss * 0.0
            # outside of autocast, which is meant for the forward pass; the scale keeps small fp16 gradients above 0
            self.scaler.scale(loss).backward()
            total += loss.detach()
        return total

    def _ready(self, batch: Batch) -> Batch:
        """The batch on the device, with the generators as they have to be for it."""
        if batch.draw is not None:
            seed_torch(batch.draw)
        return batch.to(self.device)

    def _backward_together(self, batches: Sequence[Batch], trained_tokens: int) -> torch.Tensor:
        """The same in several processes, which end up with the gradient and the loss of all micro-batches.

        A process that runs out of memory must not leave the others waiting. So all learn of it before they add up
        gradients, and raise the same error; what adding up allocates is allocated before.

        Raises:
            MemoryError: memory ran out, here or in another process.
        """
        ran_out_here = self._ran_out(lambda: self._begin(batches))
        if sums := self.task.objective.shared_sums():
            failed, *sums = self.process.total([float(ran_out_here), *sums])
            self._raise_if(failed)
            self.task.objective.take_sums(sums)
        totals: list[torch.Tensor] = []
        ran_out_here = ran_out_here or self._ran_out(
            lambda: totals.append(self._backward_and_reserve(batches, trained_tokens))
        )
        weights = self._weights()
        # a weight that no micro-batch of this process uses may have a gradient in another one
        has_gradient = [float(weight.grad is not None) for weight in weights]
        loss = 0.0 if ran_out_here else float(totals[0])
        failed, loss, *used = self.process.total([float(ran_out_here), loss, *has_gradient])
        self._raise_if(failed)
        gradients: list[torch.Tensor] = []
        for weight, uses in zip(weights, used, strict=True):
            if uses:
                weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
                gradients.append(weight.grad)
        self.process.add_up(gradients)
        return torch.tensor(loss, dtype=torch.float32, device=self.device)

    def _backward_sharded(self, batches: Sequence[Batch], trained_tokens: int) -> torch.Tensor:
        """The same where every process holds a part of each weight, and torch adds up gradients as it computes them.

        Every process has equally many micro-batches, because all of them gather the weights for each.

        Raises:
            MachineError: memory ran out. The others wait in the middle of a pass, so the step cannot be repeated.
        """
        try:
            self._begin(batches)
            if sums := self.task.objective.shared_sums():
                self.task.objective.take_sums(self.process.total(sums))
            total = self._backward(batches, trained_tokens)
            allocate_moments(self.optimizer)
        except RAISED as error:
            if not ran_out(error):
                raise
            raise out_of_memory_sharded(self.process) from error
        return torch.tensor(self.process.total([float(total)])[0], dtype=torch.float32, device=self.device)

    def _backward_and_reserve(self, batches: Sequence[Batch], trained_tokens: int) -> torch.Tensor:
        total = self._backward(batches, trained_tokens)
        self.process.reserve(self._weights())
        allocate_moments(self.optimizer)
        return total

    @staticmethod
    def _ran_out(work: Callable[[], None]) -> bool:
        """Does something, and returns whether memory ran out."""
        try:
            work()
        except RAISED as error:
            if not ran_out(error):
                raise
            return True
        return False

    @staticmethod
    def _raise_if(failed: float) -> None:
        if failed:
            raise MemoryError("memory ran out in one of the processes")

    def update(self) -> None:
        """Updates the weights, and frees the gradient.

        Raises:
            PartialUpdate: memory ran out during the update.
        """
        # allocated before any weight changes: a step that runs out of memory here can be repeated
        allocate_moments(self.optimizer)
        try:
            with gradient_point(self.optimizer):
                self.scaler.step(self.optimizer)
            self.scaler.update()
        except RAISED as error:
            if not ran_out(error):
                raise
            raise PartialUpdate("memory ran out while the weights were being updated") from error
        self.drop_gradient()

    def discard_attempt(self) -> None:
        """Discards a step that ran out of memory before the update, and frees its memory."""
        self.drop_gradient()
        if self.scaler.is_enabled():
            # the old scaler may have marked this step's gradient as unscaled, and would raise when the step is repeated
            state = self.scaler.state_dict()
            self.scaler = torch.amp.GradScaler(self.device.type)
            self.scaler.load_state_dict(state)
        free_memory()

    def drop_gradient(self) -> None:
        """Frees the gradient without an update."""
        self.optimizer.zero_grad(set_to_none=True)

    def validate(self, held_out: HeldOut) -> Validation:
        """Loss and metrics on the held-out rows."""
        evaluated = evaluate_rows(self.network, self.task, held_out, self.precision, process=self.process)
        measures = self.task.scorer.measures(evaluated)
        loss = evaluated.loss()
        headline = next((one for one in measures if one.name == self.task.scorer.headline), loss)
        score = value_of(headline) if headline.higher_is_better else -value_of(headline)
        figures = {one.name: value_of(one) for one in measures}
        compared = [loss] if headline is loss else [loss, headline]
        chance, sources = self.task.scorer.chance_loss(evaluated), held_out.losses_by_source(evaluated)
        return Validation(value_of(loss), figures, score, compared, chance, sources, evaluated)


def make_trainable(
    network: Any, objective: Objective, method: Method, recipe: Recipe, tokenizer: Any, new_modules: tuple[str, ...]
) -> Any:
    """Creates the method's weights from the recipe's seed and makes them and the new modules trainable.

    Args:
        network: the base model.
        objective: names the modules that stay frozen.
        method: chooses the weights.
        recipe: with the method's options filled in.
        tokenizer: of the model.
        new_modules: randomly initialized modules.

    Returns:
        The network to train, which may wrap the base model.
    """
    seed_everything(recipe.seed)
    frozen = objective.frozen_modules(network)
    # found by name before `apply`, which may wrap the network and so change the names
    frozen_modules = [network.get_submodule(name) for name in frozen]
    trainable = method.apply(network, recipe, Target(objective.head.peft_type, new_modules, tokenizer, frozen))
    for module in frozen_modules:
        module.requires_grad_(False)
    if recipe.train.gradient_checkpointing is True:
        network.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        network.enable_input_require_grads()
    add_embedding_noise(trainable, recipe.optimization.embedding_noise)
    return trainable


def make_trainer(
    network: Any,
    task: Task,
    method: Method,
    recipe: Recipe,
    device: torch.device,
    new_modules: Sequence[str] = (),
    process: Process = ONE,
) -> Trainer:
    """A trainer for a trainable network, with a new optimizer.

    Args:
        network: made trainable by `make_trainable`.
        task: computes the loss.
        method: chose the weights.
        recipe: with the options of the method filled in.
        device: of the network.
        new_modules: randomly initialized modules, which learn at `train.head_learning_rate`.
        process: of those that train the network together.
    """
    factors = {**method.rate_factors(network, recipe), **head_factors(network, recipe.train, new_modules)}
    for name, factor in layer_factors(network, recipe.optimization.layer_decay).items():
        factors[name] = factors.get(name, 1.0) * factor
    return Trainer(
        network=network,
        task=task,
        optimizer=make_optimizer(network, recipe.train, factors, task.objective.units(network)),
        device=device,
        precision=recipe.model.precision,
        clip=recipe.train.clip,
        scaler=torch.amp.GradScaler(device.type, enabled=recipe.model.precision == "fp16" and device.type != "cpu"),
        process=process,
    )
