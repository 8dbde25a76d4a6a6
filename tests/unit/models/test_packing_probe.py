"""Whether a model keeps packed examples apart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, BloomConfig

from burnish.data.batching.batches import collate_tokens
from burnish.models.packing import separates_packed
from tests.tiny_data import random_examples
from tests.tiny_models import LAYOUTS, make_network
from tests.tiny_training import gradients_of, largest_difference


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_five_layouts_do(layout: str) -> None:
    assert separates_packed(make_network(layout))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_they_do_with_weights_as_small_as_fresh_ones(layout: str) -> None:
    """Attention hardly matters there: a bound that is not relative to it would let anything pass."""
    assert separates_packed(make_network(layout, initializer_range=0.02))


class NoBorders(nn.Module):
    """A model that takes positions and does not look at them."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.get_input_embeddings = network.get_input_embeddings

    def forward(self, input_ids: torch.Tensor, use_cache: bool, position_ids: torch.Tensor | None = None) -> Any:
        """Drops the positions."""
        return self.network(input_ids=input_ids, use_cache=use_cache)


@pytest.mark.parametrize("spread", [0.25, 0.02, 0.002])
def test_a_model_that_ignores_positions_does_not(spread: float) -> None:
    assert not separates_packed(NoBorders(make_network("llama", initializer_range=spread)))


class NoPositions(nn.Module):
    """A model whose forward takes no positions at all."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.get_input_embeddings = network.get_input_embeddings

    def forward(self, input_ids: torch.Tensor, use_cache: bool) -> Any:
        """Only ids."""
        return self.network(input_ids=input_ids, use_cache=use_cache)


def test_a_model_that_takes_no_positions_does_not() -> None:
    assert not separates_packed(NoPositions(make_network("llama")))


def test_dropout_does_not_disturb_the_probe() -> None:
    assert separates_packed(make_network("gpt2", resid_pdrop=0.5, attn_pdrop=0.5, embd_pdrop=0.5).train())


def bloom() -> Any:
    """ALiBi: positions come from the mask, and packed examples cannot be separated."""
    torch.manual_seed(0)
    config = BloomConfig(vocab_size=300, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.25)
    return AutoModelForCausalLM.from_config(config).float().eval()


def test_bloom_does_not() -> None:
    assert not separates_packed(bloom())


def test_and_bloom_truly_would_learn_otherwise(tiny_tokenizer: Any) -> None:
    """The probe's answer is right: padded rows are exact for it, packed ones could not be."""
    network, examples = bloom(), random_examples(5, 4, 20)
    alone = [collate_tokens(examples, [[index]], pad_id=0, packed=False) for index in range(5)]
    padded = collate_tokens(examples, [[index] for index in range(5)], pad_id=0, packed=False)
    expected, wanted = gradients_of(network, tiny_tokenizer, alone)
    result, gradients = gradients_of(network, tiny_tokenizer, [padded])
    assert result.loss == pytest.approx(expected.loss, rel=1e-5)
    assert largest_difference(wanted, gradients) <= 1e-5


def test_leaves_the_mode_as_it_was() -> None:
    network = make_network("gpt2").train()
    separates_packed(network)
    assert network.training
    network.eval()
    separates_packed(network)
    assert not network.training


def test_works_with_a_vocabulary_smaller_than_the_probe() -> None:
    assert separates_packed(make_network("llama", vocabulary=7))
