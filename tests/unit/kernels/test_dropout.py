"""Dropout from random bits, beside its reference and beside PyTorch's."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertModel

from burnish.kernels.dropout import drawn_mask, dropped, dropped_reference
from burnish.models.fast_paths import FastDropout, arrange


@pytest.mark.parametrize("dropout", [0.0, 0.1, 0.5, 0.9])
def test_as_many_are_kept_as_by_chance(dropout: float) -> None:
    torch.manual_seed(0)
    number = 200_000
    kept = drawn_mask(torch.Size((number,)), dropout)
    chance = 1 - dropout
    assert abs(int(kept.sum()) - number * chance) <= 4 * math.sqrt(number * chance * dropout) + 1e-9
    # neighbors, which share a random number, do not depend on each other
    both = kept.view(-1, 4)
    for one in range(4):
        for other in range(one):
            share = float((both[:, one] & both[:, other]).float().mean())
            assert abs(share - chance**2) <= 5 * math.sqrt(chance**2 * (1 - chance**2) / len(both)) + 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(7,), (3, 5, 11), (0,), ()])
def test_output_and_gradient_are_those_of_the_same_mask(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    inputs = torch.randn(shape).to(dtype).requires_grad_()
    slopes = torch.randn(shape).to(dtype)
    torch.manual_seed(2)
    output = dropped(inputs, 0.3)
    (gradient,) = torch.autograd.grad(output, inputs, slopes)
    torch.manual_seed(2)
    mask = drawn_mask(inputs.shape, 0.3)
    assert output.dtype == gradient.dtype == dtype
    tolerance = {"atol": 1e-6, "rtol": 1e-6} if dtype == torch.float32 else {"atol": 0.02, "rtol": 0.01}
    torch.testing.assert_close(output, dropped_reference(inputs, mask, 0.3).to(dtype), **tolerance)
    torch.testing.assert_close(gradient, dropped_reference(slopes, mask, 0.3).to(dtype), **tolerance)


def test_the_generator_decides() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, second = (drawn_mask(torch.Size((64,)), 0.5) for _ in range(2))
    assert not torch.equal(first, second)
    torch.set_rng_state(state)
    assert torch.equal(drawn_mask(torch.Size((64,)), 0.5), first)


def test_a_module_drops_in_training_alone() -> None:
    module, inputs = FastDropout(0.4), torch.ones(1000)
    torch.manual_seed(0)
    assert 300 < int((module(inputs) == 0).sum()) < 500
    assert torch.equal(module.eval()(inputs), inputs)
    assert torch.equal(FastDropout(0.0)(inputs), inputs)


def test_networks_get_it_where_they_drop() -> None:
    network = BertModel(BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2))
    dropping = [layer for layer in network.modules() if type(layer) is nn.Dropout and layer.p]
    assert dropping
    arrange(network, "cpu")
    assert not any(type(layer) is nn.Dropout and layer.p for layer in network.modules())
    assert sum(isinstance(layer, FastDropout) for layer in network.modules()) == len(dropping)
