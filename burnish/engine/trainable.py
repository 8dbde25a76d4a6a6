"""From a loaded network to what the loop needs: made trainable, with its optimizer."""

from __future__ import annotations

from typing import Any

import torch

from burnish.engine.optimizer import make_optimizer
from burnish.engine.random_state import seed_everything
from burnish.engine.step import Trainer
from burnish.methods.method import Method
from burnish.models.head import Target
from burnish.recipe.schema import Recipe
from burnish.tasks.task import Task


def make_trainable(
    network: Any, task: Task, method: Method, recipe: Recipe, tokenizer: Any, new_modules: tuple[str, ...]
) -> Any:
    """Makes the method's weights, and the new modules, trainable, from the recipe's seed.

    Args:
        network: the base model.
        task: may keep modules from being trained.
        method: chooses the weights.
        recipe: with the method's options filled in.
        tokenizer: of the model.
        new_modules: modules that begin at random.

    Returns:
        The network to train, which may wrap the base.
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
    """A trainer of a trainable network, with a fresh optimizer."""
    return Trainer(
        network=network,
        task=task,
        optimizer=make_optimizer(network, recipe.train, method.rate_factors(network, recipe)),
        device=device,
        precision=recipe.model.precision,
        clip=recipe.train.clip,
        scaler=torch.amp.GradScaler(device.type, enabled=recipe.model.precision == "fp16" and device.type != "cpu"),
    )
