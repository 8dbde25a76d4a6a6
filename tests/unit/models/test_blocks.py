"""The blocks and their linear layers, found by looking."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from burnish.models.blocks import (
    block_lists,
    count_parameters,
    is_ending,
    linear_layers,
    memory_bytes,
    short_names,
    spelled_out,
)
from tests.tiny_models import LAYOUTS, make_network

ATTENTION = ["k_proj", "o_proj", "q_proj", "v_proj"]
FEED_FORWARD = ["down_proj", "gate_proj", "up_proj"]
EXPECTED = {
    "gpt2": ["c_attn", "c_fc", "c_proj"],
    "llama": sorted(ATTENTION + FEED_FORWARD),
    "mistral": sorted(ATTENTION + FEED_FORWARD),
    "qwen2": sorted(ATTENTION + FEED_FORWARD),
    "phi3": ["down_proj", "gate_up_proj", "o_proj", "qkv_proj"],
}
PER_BLOCK = {"gpt2": 4, "llama": 7, "mistral": 7, "qwen2": 7, "phi3": 4}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_linear_layer_of_every_block_and_no_other(layout: str) -> None:
    network = make_network(layout)
    found = linear_layers(network)
    names = dict(network.named_modules())
    matrices = [name for name, p in network.named_parameters() if p.ndim == 2]
    expected = [name.removesuffix(".weight") for name in matrices if ".0." in name or ".1." in name]
    assert sorted(found) == sorted(expected)
    assert len(found) == 2 * PER_BLOCK[layout]
    assert all(name in names for name in found)
    assert not any("head" in name or "embed" in name or "wte" in name for name in found)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_their_short_names_are_the_usual_ones(layout: str) -> None:
    network = make_network(layout)
    assert short_names(network, linear_layers(network)) == EXPECTED[layout]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_blocks_are_the_one_list_of_layers(layout: str) -> None:
    assert block_lists(make_network(layout)) == ["transformer.h" if layout == "gpt2" else "model.layers"]


def test_a_model_of_one_block_has_blocks_too() -> None:
    network = make_network("llama", num_hidden_layers=1)
    assert len(linear_layers(network)) == 7


class Block(nn.Module):
    """A block with a list inside, as mixtures of experts have."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(2, 2) for _ in range(4))
        self.out = nn.Linear(2, 2)


class Network(nn.Module):
    """Blocks, and layers of the same names outside them."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.out = nn.Linear(2, 2)
        self.extras = nn.ModuleList([nn.Linear(2, 2)])
        self.mixed = nn.ModuleList([nn.Linear(2, 2), nn.LayerNorm(2)])


def test_lists_inside_blocks_belong_to_the_blocks() -> None:
    assert block_lists(Network()) == ["blocks"]


def test_a_name_that_also_stands_outside_keeps_more_of_its_path() -> None:
    network = Network()
    names = short_names(network, linear_layers(network))
    assert "out" not in names
    assert "*.out" in names
    matched = {n for n, _ in network.named_modules() for end in names if is_ending(n, end)}
    assert matched == set(linear_layers(network))
    assert {n for n in spelled_out(network, names) if n.endswith(".out")} == {n for n in matched if n.endswith(".out")}


@pytest.mark.parametrize(
    ("ending", "matches"),
    [("out", True), ("0.out", True), ("*.out", True), ("1.out", False), ("*.0.out", False), ("blocks.*.out", True)],
)
def test_a_star_is_the_number_of_any_block(ending: str, matches: bool) -> None:
    assert is_ending("model.blocks.0.out", ending) == matches


def test_counts_tied_weights_once() -> None:
    tied = make_network("qwen2")
    embedding = tied.get_input_embeddings().weight
    assert tied.get_output_embeddings().weight is embedding
    trainable, everything = count_parameters(tied)
    assert trainable == everything == sum({p.data_ptr(): p.numel() for p in tied.parameters()}.values())
    embedding.requires_grad_(False)
    assert count_parameters(tied) == (everything - embedding.numel(), everything)
    assert torch.is_tensor(embedding)


def test_memory_by_hand() -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2).bfloat16())
    assert memory_bytes(network) == 4 * 8 + 2 * (2 + 2 + 2 + 2) + 8, "weights, running figures and their count"


def test_tied_weights_take_memory_once() -> None:
    tied, loose = (make_network("qwen2", tie_word_embeddings=tie) for tie in (True, False))
    assert memory_bytes(loose) - memory_bytes(tied) == 4 * 300 * 32
