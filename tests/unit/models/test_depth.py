"""The same model with fewer blocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, BartConfig, T5Config

from burnish.models.blocks import block_lists
from burnish.models.config import depth, period, shallow, with_depth
from burnish.models.heads import CAUSAL, Head
from burnish.models.skeleton import count_from_config
from tests.tiny_models import make_network
from tests.tiny_steps import tiny_config


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "bert", "modernbert", "t5"])
def test_depth_is_the_number_of_blocks_and_can_be_set(name: str) -> None:
    config = tiny_config(name, layers=7)
    assert depth(config) == 7
    changed = with_depth(config, 4)
    assert (depth(changed), depth(config)) == (4, 7), "the config itself stays as it is"


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2", "t5"])
def test_the_model_is_built_with_so_many_blocks(name: str) -> None:
    auto: Any = AutoModelForSeq2SeqLM if name == "t5" else AutoModelForCausalLM
    with torch.device("meta"):
        network = auto.from_config(with_depth(tiny_config(name, layers=7), 4))
    assert {len(network.get_submodule(blocks)) for blocks in block_lists(network)} == {4}


def test_an_encoder_and_a_decoder_of_unlike_depth_stay_as_they_are() -> None:
    assert depth(T5Config(num_layers=6, num_decoder_layers=4)) is None
    assert depth(BartConfig(encoder_layers=3, decoder_layers=3)) == 3
    assert depth(BartConfig(encoder_layers=3, decoder_layers=6)) is None


@pytest.mark.parametrize(
    ("name", "layers", "expected"),
    [("llama", 7, 1), ("gpt2", 7, 1), ("gemma2", 8, 2), ("gemma2", 7, 2), ("modernbert", 7, 3), ("modernbert", 12, 3)],
)
def test_kinds_of_blocks_repeat(name: str, layers: int, expected: int) -> None:
    assert period(tiny_config(name, layers)) == expected


@pytest.mark.parametrize(
    ("kinds", "expected"), [("aaaaaa", 1), ("ababab", 2), ("ababa", 2), ("aabaab", 3), ("aaabaa", 4), ("aaaaab", 6)]
)
def test_a_period_may_be_cut_at_the_end(kinds: str, expected: int) -> None:
    names = {"a": "sliding_attention", "b": "full_attention"}
    config = tiny_config("gemma2", len(kinds))
    config.layer_types = [names[kind] for kind in kinds]
    assert period(config) == expected


def with_experts_from(first: int, layers: int) -> Any:
    """A config whose first blocks have no experts; no list in it says so."""
    return transformers.DeepseekV3Config(
        vocab_size=64, hidden_size=32, intermediate_size=48, moe_intermediate_size=16, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=4, n_routed_experts=4, num_experts_per_tok=2, n_group=1,
        topk_group=1, first_k_dense_replace=first, kv_lora_rank=8, q_lora_rank=8, qk_rope_head_dim=8,
        qk_nope_head_dim=8, v_head_dim=8,
    )  # fmt: skip


def test_blocks_of_another_make_are_not_a_period() -> None:
    assert period(with_experts_from(3, layers=9)) >= 8
    assert period(with_experts_from(1, layers=9)) == 1, "both of two shallow copies have the first block"
    assert period(with_experts_from(0, layers=9)) == 1


@pytest.mark.parametrize(("first", "expected"), [(3, 4), (1, 2), (0, 2)])
def test_a_shallow_copy_has_every_kind_of_block(first: int, expected: int) -> None:
    assert depth(shallow(with_experts_from(first, layers=9))) == expected


def test_a_shallow_copy_of_few_blocks_is_the_whole() -> None:
    assert depth(shallow(tiny_config("llama", 1))) == 1
    assert depth(shallow(tiny_config("llama", 12))) == 2


def test_parameters_are_those_of_the_whole_model() -> None:
    """Though its first blocks are smaller than the others."""
    for layers in (9, 8, 9):  # what is kept of one is not taken for another
        config = with_experts_from(3, layers=layers)
        network = AutoModelForCausalLM.from_config(config)
        assert count_from_config(config, CAUSAL) == sum(weight.numel() for weight in network.parameters())


def test_lists_with_a_value_for_each_block_are_cut() -> None:
    config = tiny_config("gemma2", 6)
    changed = with_depth(config, 3)
    assert changed.layer_types == config.layer_types[:3]
    assert len(config.layer_types) == 6


def test_a_model_of_one_block() -> None:
    config = make_network("llama", num_hidden_layers=1).config
    assert (depth(config), period(config)) == (1, 1)


def test_numbers_that_are_infinite_are_no_obstacle() -> None:
    plain, config, head = tiny_config("bert"), tiny_config("bert"), Head("AutoModelForMaskedLM")
    config.initializer_range = float("inf")
    assert (period(config), count_from_config(config, head)) == (1, count_from_config(plain, head))
