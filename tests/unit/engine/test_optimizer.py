"""AdamW's groups and state."""

from __future__ import annotations

import importlib.util
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn

from burnish.engine.optimizer import (
    allocate_moments,
    check_optimizer,
    make_optimizer,
    moments,
    restore_moments,
    set_learning_rate,
)
from burnish.errors import MachineError, RecipeError
from burnish.recipe.schema import TrainSection
from tests.tiny_models import LAYOUTS, make_network
from tests.tiny_training import with_method


@pytest.mark.parametrize("layout", LAYOUTS)
def test_only_matrices_decay(layout: str) -> None:
    network = make_network(layout)
    optimizer = make_optimizer(network, TrainSection(learning_rate=1e-3, weight_decay=0.3), {})
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    named = dict(network.named_parameters())
    assert len(decays) == len(named)
    for name, parameter in named.items():
        is_vector = name.endswith("bias") or "norm" in name or ".ln_" in name
        assert parameter.ndim == (1 if is_vector else 2)
        assert decays[id(parameter)] == (0.0 if is_vector else 0.3), name


def test_frozen_weights_are_left_out() -> None:
    network = with_method(make_network("llama"), "lora")
    optimizer = make_optimizer(network, TrainSection(learning_rate=1e-3), {})
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for name, p in network.named_parameters() if "lora_" in name}
    assert len(optimizer.param_groups) == 1, "adapters have no vectors, and an empty group has no place"


def test_factors_scale_the_rate_of_their_weights() -> None:
    """LoRA+: the B matrices learn faster. Weights of equal decay and factor share a group."""
    network = with_method(make_network("llama"), "lora")
    factors = {name: 16.0 for name, _ in network.named_parameters() if "lora_B" in name}
    optimizer = make_optimizer(network, TrainSection(learning_rate=0.5, weight_decay=0.1), factors)
    set_learning_rate(optimizer, 0.25)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert {name: rates[id(parameter)] for name, parameter in trained.items()} == {
        name: 4.0 if "lora_B" in name else 0.25 for name in trained
    }
    assert len(optimizer.param_groups) == 2
    assert all(group["weight_decay"] == 0.1 for group in optimizer.param_groups)


def test_decay_and_factor_are_independent() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    train = TrainSection(learning_rate=1.0, weight_decay=0.1)
    groups = make_optimizer(network, train, {"1.weight": 2.0, "1.bias": 2.0, "elsewhere": 9.0}).param_groups
    result = [(group["weight_decay"], group["rate_factor"], [p.shape for p in group["params"]]) for group in groups]
    assert result == [(0.1, 1.0, [(2, 3)]), (0.1, 2.0, [(2, 2)]), (0.0, 1.0, [(2,)]), (0.0, 2.0, [(2,)])]


def test_the_order_of_groups_does_not_hang_on_the_order_of_factors() -> None:
    """A checkpoint names moments by number."""
    network, train = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)), TrainSection(learning_rate=1.0)
    factors = {"0.weight": 4.0, "1.weight": 2.0}
    first = make_optimizer(network, train, factors)
    second = make_optimizer(network, train, dict(reversed(factors.items())))
    assert [group["rate_factor"] for group in first.param_groups if group["weight_decay"]] == [2.0, 4.0]
    for one, other in zip(first.param_groups, second.param_groups, strict=True):
        assert [id(p) for p in one["params"]] == [id(p) for p in other["params"]]


def test_a_factor_moves_a_weight_further() -> None:
    """AdamW's first step is the rate in size."""
    network = nn.Linear(3, 2, bias=False)
    before = network.weight.detach().clone()
    optimizer = make_optimizer(network, TrainSection(learning_rate=1.0, weight_decay=0.0), {"weight": 8.0})
    set_learning_rate(optimizer, 0.01)
    network(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    torch.testing.assert_close(network.weight.detach(), before - 0.08)


def test_a_weight_in_a_unit_is_trained_as_if_divided_by_it() -> None:
    network = nn.Linear(3, 2)
    train = TrainSection(learning_rate=1.0, weight_decay=0.1)
    in_unit, plain = make_optimizer(network, train, {"weight": 2.0}, {"weight": 4.0}).param_groups
    assert (in_unit["weight_decay"], in_unit["rate_factor"], in_unit["eps"]) == (0.1 / 4, 8.0, 1e-8 / 4)
    assert (plain["weight_decay"], plain["rate_factor"], plain["eps"]) == (0.0, 1.0, 1e-8)


def test_options_reach_the_optimizer() -> None:
    network = nn.Linear(3, 2)
    optimizer = make_optimizer(network, TrainSection(learning_rate=0.25, betas=(0.7, 0.8)), {})
    assert isinstance(optimizer, torch.optim.AdamW)
    assert all(group["fused"] for group in optimizer.param_groups)
    assert all(group["lr"] == 0.25 and group["betas"] == (0.7, 0.8) for group in optimizer.param_groups)
    set_learning_rate(optimizer, 0.125)
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.125]


def test_a_group_without_a_factor_has_the_rate_itself() -> None:
    optimizer = torch.optim.AdamW([nn.Parameter(torch.ones(2))])
    set_learning_rate(optimizer, 0.125)
    assert [group["lr"] for group in optimizer.param_groups] == [0.125]


def test_moments_are_allocated_as_torch_does_and_only_where_they_are_missing() -> None:
    """Of three weights, one has been updated before, one has its first gradient, and one has none."""
    known, new, idle = (nn.Parameter(torch.ones(2, 3)) for _ in range(3))
    optimizer = torch.optim.AdamW([{"params": [known]}, {"params": [new, idle]}], fused=True)
    known.grad = torch.ones(2, 3)
    optimizer.step()
    before = {name: tensor.clone() for name, tensor in optimizer.state[known].items()}
    new.grad = torch.ones(2, 3)
    allocate_moments(optimizer)
    assert all(torch.equal(optimizer.state[known][name], tensor) for name, tensor in before.items())
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in optimizer.state[new].items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in before.items()
    }
    assert not any(tensor.any() for tensor in optimizer.state[new].values())
    assert idle not in optimizer.state
    plain = torch.optim.SGD([new])
    allocate_moments(plain)
    assert not plain.state


@pytest.mark.parametrize(
    ("optimizer", "device", "instead"),
    [("paged-adamw-8bit", "cpu", "adamw-8bit"), ("paged-adamw-8bit", "mps", "adamw"), ("adamw-8bit", "mps", "adamw")],
)
def test_moments_in_eight_bits_are_refused_on_a_device_that_lacks_them(
    optimizer: Any, device: str, instead: str
) -> None:
    with pytest.raises(MachineError, match="needs .*CUDA") as caught:
        check_optimizer(TrainSection(learning_rate=1.0, optimizer=optimizer), device)
    assert f"the device `{device}`" in caught.value.why
    assert caught.value.fix == f"Use `--set train.optimizer={instead}`"
    check_optimizer(TrainSection(learning_rate=1.0), device)
    check_optimizer(TrainSection(learning_rate=1.0, optimizer="adamw-8bit"), "cpu")


@pytest.mark.parametrize("is_installed", [False, True])
def test_moments_in_pages_need_a_package(is_installed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if is_installed else None)
    train = TrainSection(learning_rate=1.0, optimizer="paged-adamw-8bit")
    with nullcontext() if is_installed else pytest.raises(MachineError, match="needs the package bitsandbytes"):
        check_optimizer(train, "cuda")


def test_schedule_free_needs_its_package_and_a_first_beta(monkeypatch: pytest.MonkeyPatch) -> None:
    train = TrainSection(learning_rate=1.0, optimizer="schedule-free", betas=(0.0, 0.9))
    with pytest.raises(RecipeError, match="begins with 0"):
        check_optimizer(train, "cpu")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match="needs the package schedulefree"):
        check_optimizer(train, "cpu")


def test_a_state_of_plain_counts_and_nested_tables_comes_back() -> None:
    """bitsandbytes counts steps in integers and nests its tables; torch counts in tensors of floats."""
    weight = nn.Parameter(torch.ones(2, 2))
    first, second = torch.optim.AdamW([weight]), torch.optim.AdamW([weight])
    table = torch.tensor([7, 9], dtype=torch.uint8)
    first.state[weight] = {"count": 3, "step": torch.tensor(5.0), "nested": {"table": table}}
    saved = moments(first)
    assert {name: tensor.tolist() for name, tensor in saved.items()} == {
        "0.count": 3,
        "0.step": 5.0,
        "0.table": [7, 9],
    }
    restore_moments(second, saved, first.state_dict()["param_groups"])
    state = second.state[weight]
    assert (type(state["count"]), state["count"]) == (int, 3)
    assert torch.is_tensor(state["step"])
    assert state["step"].item() == 5.0
    assert state["table"].tolist() == [7, 9]
