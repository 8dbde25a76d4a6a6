"""Method `full`, and what all methods share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from burnish.methods import make_method, method_names
from burnish.methods.full import FullMethod
from burnish.methods.method import scaled_rate
from burnish.models.base import Loading
from burnish.models.heads import Target
from burnish.models.location import ModelLocation
from burnish.recipe.schema import Recipe
from burnish.runs.folder import RunFolder
from tests.tiny_models import LAYOUTS, make_network


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_weight_is_trained(layout: str) -> None:
    network = make_network(layout).requires_grad_(False)
    tuned = FullMethod().apply(network, Recipe(method="full"), Target())
    assert tuned is network
    assert all(parameter.requires_grad for parameter in tuned.parameters())


def test_weights_are_held_in_fp32_whatever_the_arithmetic() -> None:
    assert FullMethod().loading(torch.bfloat16, torch.device("cpu")) == Loading(torch.float32)


def test_the_base_is_gone() -> None:
    assert FullMethod().without(make_network("llama")) is None


@pytest.mark.parametrize("layout", ["gpt2", "qwen2"])
def test_a_saved_model_is_opened_without_its_base(layout: str, tmp_path: Path) -> None:
    network, ids = make_network(layout), torch.arange(3, 20)[None]
    FullMethod().save(network, tmp_path)
    assert list(tmp_path.glob("*.safetensors"))
    assert not list(tmp_path.glob("*.bin"))
    asked: list[ModelLocation] = []

    def load(where: ModelLocation) -> Any:
        asked.append(where)
        return AutoModelForCausalLM.from_pretrained(where.folder)

    tuned = FullMethod().open(load, ModelLocation("mine", tmp_path / "nowhere", True), tmp_path)
    assert asked == [ModelLocation("mine", tmp_path, False)]
    with torch.no_grad():
        assert torch.equal(tuned(input_ids=ids).logits, network(input_ids=ids).logits)


def test_learning_rates_stay_between_those_of_guides() -> None:
    rate = FullMethod().learning_rate
    assert rate(10**8) == pytest.approx(5e-5)
    assert rate(7 * 10**9) == pytest.approx(1e-5)
    assert rate(10**12) == pytest.approx(1e-5)
    assert rate(10**6) == pytest.approx(5e-4)


def test_scaling_by_hand() -> None:
    """Square root below 100 M parameters, 0.38th power above, two digits."""
    assert scaled_rate(1.0, 10**8) == 1.0
    assert scaled_rate(1.0, 25 * 10**6) == 2.0
    assert scaled_rate(1.0, 10**6) == 10.0
    assert scaled_rate(1.0, 10**9) == 0.42
    assert scaled_rate(1.0, 52 * 10**6) == 1.4
    assert scaled_rate(1.0, 0) == scaled_rate(1.0, 1) == 10**4
    rates = [scaled_rate(1e-4, number) for number in (1, 10**3, 10**6, 10**8, 10**9, 10**11)]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize(("name", "folder"), [("lora", "adapter"), ("full", "model")])
def test_each_method_has_its_place_in_the_run_folder(name: str, folder: str, tmp_path: Path) -> None:
    method = make_method(name)
    assert method.name == name
    assert method.result_folder(RunFolder(tmp_path)) == tmp_path / folder


def test_every_listed_method_can_be_made() -> None:
    assert [make_method(name).name for name in method_names()] == list(method_names())
