"""How a network becomes trainable, and what its trainer is given."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from burnish.engine.step import make_trainable, make_trainer
from burnish.methods import make_method
from burnish.recipe.schema import LoraSection, ModelSection, Recipe, TrainSection
from burnish.tasks import make_task
from burnish.tasks.defaults import NextTokenObjective
from tests.tiny_models import make_network


class WithFrozenNorms(NextTokenObjective):
    """Keeps two modules as they are."""

    def frozen_modules(self, network: Any) -> tuple[str, ...]:
        """One with a weight of its own, one with several."""
        return "model.norm", "model.layers.0.mlp"


def made_trainable(method: str, recipe: Recipe, network: Any = None) -> Any:
    """A tiny network, trainable by the method."""
    network = network or make_network("llama")
    return make_trainable(network, WithFrozenNorms("fast"), make_method(method), recipe, None, ())


def trained(network: Any) -> dict[str, torch.Tensor]:
    """The weights that are trained, by name."""
    return {name: weight.detach() for name, weight in network.named_parameters() if weight.requires_grad}


def test_new_weights_are_drawn_from_the_seed_alone() -> None:
    """Whatever was drawn before them."""
    drawn = []
    for before, seed in [(1, 5), (2, 5), (1, 6)]:
        network = make_network("llama")
        torch.manual_seed(before)
        weights = trained(made_trainable("lora", Recipe(seed=seed, lora=LoraSection(rank=4)), network))
        drawn.append(torch.cat([weight.flatten() for name, weight in weights.items() if "lora_A" in name]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_what_the_task_keeps_frozen_is_not_trained_by_any_method() -> None:
    network = make_network("llama")
    names = [name for name, _ in network.named_parameters()]
    frozen = [name for name in names if name.startswith(("model.norm.", "model.layers.0.mlp."))]
    assert len(frozen) == 4
    assert list(trained(made_trainable("full", Recipe(), network))) == [name for name in names if name not in frozen]


@pytest.mark.parametrize(("option", "is_enabled"), [(True, True), (False, False), ("auto", False)])
def test_gradient_checkpointing_is_turned_on_where_it_is_wanted(option: Any, is_enabled: bool) -> None:
    """Without reentrance, and with an input that needs a gradient: under frozen embeddings nothing would have one."""
    network, asked = make_network("llama"), list[dict[str, Any]]()
    network.gradient_checkpointing_enable = lambda **options: asked.append(options)
    made_trainable("lora", Recipe(train=TrainSection(gradient_checkpointing=option)), network)
    assert asked == [{"gradient_checkpointing_kwargs": {"use_reentrant": False}}] * is_enabled
    assert network.get_input_embeddings()(torch.tensor([1])).requires_grad == is_enabled


@pytest.mark.parametrize(
    ("precision", "device", "is_scaled"), [("fp16", "mps", True), ("bf16", "mps", False), ("fp16", "cpu", False)]
)
def test_the_loss_is_scaled_for_fp16_on_accelerators(
    precision: Any, device: str, is_scaled: bool, tiny_tokenizer: Any
) -> None:
    train = TrainSection(learning_rate=1e-3, clip=0.25, weight_decay=0.5)
    recipe = Recipe(model=ModelSection(precision=precision), train=train)
    network, task, method = make_network("llama"), make_task("chat", tiny_tokenizer, recipe), make_method("full")
    trainer = make_trainer(network, task, method, recipe, torch.device(device))
    assert trainer.scaler.is_enabled() == is_scaled
    assert (trainer.device.type, trainer.precision, trainer.clip) == (device, precision, 0.25)
    assert {group["weight_decay"] for group in trainer.optimizer.param_groups} == {0.5, 0.0}
