"""Optimizers and schedules beyond the usual: each learns, resumes to the last bit, and is planned with its state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from burnish.engine.averaged import gradient_point
from burnish.engine.combined import MuonWithAdamW
from burnish.engine.noise import add_embedding_noise
from burnish.engine.optimizer import layer_factors, make_optimizer, moments, restore_moments, state_bytes
from burnish.errors import Interrupted
from burnish.recipe.load import recipe_from_saved
from burnish.recipe.schema import OptimizationSection, Recipe, TrainSection
from burnish.runs.folder import RunFolder
from burnish.workflows.plan import Place, plan
from burnish.workflows.resume import resume
from burnish.workflows.train import train
from tests.numeric.test_resume import a_recipe, logged, result_bytes, steps, stopper
from tests.tiny_data import write_rows
from tests.tiny_models import make_network
from tests.tiny_training import with_method

OTHERS = ("muon", "adafactor", "schedule-free", "adamw-8bit")
MORE = OptimizationSection(minimum_rate=0.1, decay_share=0.5, layer_decay=0.8, embedding_noise=5.0)


@pytest.mark.parametrize(
    "optimizer",
    # one state for each weight, of which the next update is compared below
    [pytest.param(one, marks=pytest.mark.slow if one == "adafactor" else []) for one in OTHERS],
)
@pytest.mark.parametrize(
    ("method", "layout"), [("lora", "llama"), pytest.param("full", "gpt2", marks=pytest.mark.slow)]
)
def test_a_run_learns_and_resumes_to_the_last_bit(
    optimizer: str, method: str, layout: str, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    """With noise on the embeddings, rates by layer, and a schedule that ends above zero."""
    rows, base = write_rows(tmp_path / "rows.jsonl"), tiny_model(layout)

    def recipe(name: str) -> Recipe:
        made = a_recipe(rows, base, method, tmp_path / name).with_options(
            train={"optimizer": optimizer, "schedule": "wsd", "learning_rate": 0.01},
            evaluate={"answers": 0, "every": 3},
        )
        return made.model_copy(update={"optimization": MORE})

    straight = train(recipe("straight")).folder
    with pytest.raises(Interrupted):
        train(recipe("stopped"), listeners=[stopper(4)])
    folder = RunFolder(tmp_path / "stopped" / "made")
    resume(folder)
    assert result_bytes(folder, method) == result_bytes(straight, method)
    assert logged(folder) == logged(straight)
    lines = steps(straight)
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
    assert lines[-1]["learning_rate"] >= 0.1 * 0.01
    if optimizer == "schedule-free":
        assert lines[-1]["learning_rate"] == pytest.approx(0.01)
        assert recipe_from_saved(folder.recipe).train.schedule == "constant"


@pytest.mark.parametrize("optimizer", ["adamw", *OTHERS])
def test_each_optimizer_learns_at_the_same_rate(optimizer: str) -> None:
    """The same few steps on a small regression: none diverges, and none stands still."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 4))
    inputs, targets = torch.randn(64, 16), torch.randn(64, 4)
    made = make_optimizer(network, TrainSection(learning_rate=0.01, optimizer=optimizer), {})
    losses = []
    for _ in range(60):
        with gradient_point(made):
            loss = (network(inputs) - targets).square().mean()
            loss.backward()
            made.step()
        made.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]


def test_the_network_holds_the_average_between_steps_and_the_point_of_the_gradient_within() -> None:
    """Against the formulas of the paper: z moves, x is the mean of the z weighted by squared rates, y between both."""
    weight, beta, decay = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]])), 0.9, 0.1
    module = nn.Module()
    module.register_parameter("weight", weight)
    section = TrainSection(learning_rate=0.1, optimizer="schedule-free", weight_decay=decay, betas=(beta, 0.99))
    made = make_optimizer(module, section, {})
    x, z, v, total = weight.detach().double(), weight.detach().double(), torch.zeros(2, 2).double(), 0.0
    for number, rate in enumerate((0.02, 0.1, 0.1, 0.1, 0.1)):
        for group in made.param_groups:
            group["lr"] = rate
        y = beta * x + (1 - beta) * z
        with gradient_point(made):
            torch.testing.assert_close(weight.detach().double(), y, rtol=1e-6, atol=1e-6)
            gradient = weight.detach().cos() + number
            weight.grad = gradient.clone()
            made.step()
        v = 0.99 * v + 0.01 * gradient.double() ** 2
        direction = gradient.double() / ((v / (1 - 0.99 ** (number + 1))).sqrt() + 1e-8) + decay * y
        z = z - rate * direction
        total += rate**2
        x = x + (z - x) * rate**2 / total
        torch.testing.assert_close(weight.detach().double(), x, rtol=1e-6, atol=1e-6)


def test_a_step_that_fails_leaves_the_average_as_it_was() -> None:
    network = make_network("llama")
    made = make_optimizer(network, TrainSection(learning_rate=0.01, optimizer="schedule-free"), {})
    for seed in range(2):
        for weight in network.parameters():
            weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
        with gradient_point(made):
            made.step()
    before = [weight.detach().clone() for weight in network.parameters()]
    with pytest.raises(MemoryError), gradient_point(made):
        assert any(not torch.equal(one, other) for one, other in zip(network.parameters(), before, strict=True))
        raise MemoryError
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), before, strict=True))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_muon_gets_the_matrices_of_the_blocks_alone(method: str) -> None:
    network = with_method(make_network("llama"), method)
    made = make_optimizer(network, TrainSection(learning_rate=0.01, optimizer="muon"), {})
    assert isinstance(made, MuonWithAdamW)
    of_adamw = {id(weight) for group in made.adamw.param_groups for weight in group["params"]} if made.adamw else set()
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            in_block = "layers." in name and weight.ndim == 2
            assert (id(weight) not in of_adamw) == in_block, name


@pytest.mark.parametrize("optimizer", OTHERS)
def test_saved_moments_give_the_same_next_update(optimizer: str) -> None:
    def prepared() -> tuple[Any, torch.optim.Optimizer]:
        torch.manual_seed(0)
        network = make_network("llama")
        return network, make_optimizer(network, TrainSection(learning_rate=0.01, optimizer=optimizer), {})

    def update(network: Any, made: torch.optim.Optimizer, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for weight in network.parameters():
            weight.grad = torch.randn(weight.shape, generator=generator)
        with gradient_point(made):
            made.step()

    network, made = prepared()
    for seed in range(3):
        update(network, made, seed)
    again, restored = prepared()
    again.load_state_dict(network.state_dict())
    restore_moments(restored, moments(made), made.state_dict()["param_groups"])
    update(network, made, 9)
    update(again, restored, 9)
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_lower_blocks_learn_slower() -> None:
    network = make_network("llama")
    factors = layer_factors(network, 0.5)
    blocks = network.config.num_hidden_layers
    for name, _ in network.named_parameters():
        if "layers." in name:
            number = int(name.split("layers.")[1].split(".")[0])
            assert factors[name] == 0.5 ** (blocks - 1 - number)
        elif "embed_tokens" in name and not network.config.tie_word_embeddings:
            assert factors[name] == 0.5**blocks
        else:
            assert name not in factors
    assert layer_factors(network, 1.0) == {}


def test_noise_is_bounded_and_only_in_training() -> None:
    network = make_network("llama")
    embedding, ids = network.get_input_embeddings(), torch.arange(12).reshape(2, 6)
    plain = embedding(ids)
    add_embedding_noise(network, 0.0)
    add_embedding_noise(network, 5.0)
    network.train()
    difference = (embedding(ids) - plain).abs()
    largest = 5.0 / (6 * plain.shape[-1]) ** 0.5
    assert 0.8 * largest < float(difference.max()) <= largest
    assert float(difference.mean()) == pytest.approx(largest / 2, rel=0.1), "it is uniform"
    with torch.no_grad():
        assert torch.equal(embedding(ids), plain), "as for a reference model"
    network.eval()
    assert torch.equal(embedding(ids), plain)


@pytest.mark.parametrize("layout", ["llama", "gpt2"])
@pytest.mark.parametrize("optimizer", ["adamw", *OTHERS])
def test_the_state_has_the_bytes_of_the_rules(optimizer: str, layout: str) -> None:
    network = make_network(layout)
    made = make_optimizer(network, TrainSection(learning_rate=0.01, optimizer=optimizer), {})
    for weight in network.parameters():
        weight.grad = torch.ones_like(weight)
    with gradient_point(made):
        made.step()
    states = [(name, value) for state in made.state.values() for name, value in state.items()]
    # bitsandbytes has one table for all weights, of the values that eight bits mean
    kept = [value for name, value in states if isinstance(value, torch.Tensor) and not name.startswith("qmap")]
    copies = sum(weight.nbytes for weight in network.parameters()) if optimizer == "schedule-free" else 0
    assert sum(value.nbytes for value in kept if value.ndim) + copies == state_bytes(network, optimizer)


@pytest.mark.slow
def test_the_plan_knows_the_state_of_each_optimizer() -> None:
    """AdamW has two values or bytes a weight; Muon one value for matrices of blocks; Adafactor a row and a column."""
    state = {}
    for optimizer in ("adamw", *OTHERS):
        values = {"method": "full", "model": {"name": "gpt2"}, "train": {"optimizer": optimizer}, "batch": {"rows": 1}}
        state[optimizer] = plan(Recipe.model_validate(values), Place(memory="100GB"))
    weights = 4 * state["adamw"].parameters
    in_blocks = 4 * 12 * 12 * 768**2
    assert state["adamw"].memory["optimizer"] == pytest.approx(2 * weights, rel=0.001)
    assert state["muon"].memory["optimizer"] == pytest.approx(2 * weights - in_blocks, rel=0.002)
    assert state["adamw-8bit"].memory["optimizer"] == pytest.approx(weights / 2, rel=0.03)
    assert state["adafactor"].memory["optimizer"] < 0.01 * weights
