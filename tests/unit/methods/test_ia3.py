"""Method `ia3`, and finding what layers do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AlbertConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    FalconConfig,
    FNetConfig,
    GPTNeoXConfig,
    MixtralConfig,
)

from burnish.engine.optimizer import make_optimizer
from burnish.errors import RecipeError
from burnish.methods.ia3 import Ia3Method, find_layers
from burnish.models.blocks import find_roles
from burnish.recipe.schema import Ia3Section, TrainSection
from tests.tiny_models import make_network
from tests.unit.methods.adapted import apply_to, make_case

_SIZES: dict[str, Any] = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
FOUND = {
    "gpt2": (["c_attn", "mlp.c_proj"], ["mlp.c_proj"]),
    "llama": (["down_proj", "k_proj", "v_proj"], ["down_proj"]),
    "qwen2": (["down_proj", "k_proj", "v_proj"], ["down_proj"]),
    "phi3": (["down_proj", "qkv_proj"], ["down_proj"]),
}


@pytest.mark.parametrize("layout", FOUND)
def test_keys_values_and_the_end_of_the_feed_forward(layout: str) -> None:
    assert find_layers(make_network(layout), Ia3Section()) == FOUND[layout]


@pytest.mark.parametrize("kind", [GPTNeoXConfig, FalconConfig])
def test_attention_and_feed_forward_side_by_side(kind: Any) -> None:
    network = AutoModelForCausalLM.from_config(kind(**_SIZES))
    assert find_layers(network, Ia3Section()) == (["dense_4h_to_h", "query_key_value"], ["dense_4h_to_h"])


def test_experts_have_no_linear_layer_to_scale() -> None:
    network = AutoModelForCausalLM.from_config(MixtralConfig(**_SIZES, num_key_value_heads=2, intermediate_size=32))
    assert find_layers(network, Ia3Section()) == (["k_proj", "v_proj"], [])


def test_an_encoder_reads_both_ways(tmp_path: Path) -> None:
    targets, ends = find_layers(make_case("bert-tag", tmp_path).load(), Ia3Section())
    assert targets == ["*.output.dense", "key", "value"]
    assert ends == ["*.output.dense"]  # not attention.output.dense


def test_blocks_that_share_their_weights_are_one_block() -> None:
    config = AlbertConfig(**{**_SIZES, "num_hidden_layers": 3}, embedding_size=16, intermediate_size=48)
    network = AutoModelForSequenceClassification.from_config(config)
    assert find_layers(network, Ia3Section()) == (["ffn_output", "key", "value"], ["ffn_output"])


def test_a_decoder_reads_its_encoder_too(tmp_path: Path) -> None:
    roles = find_roles(make_case("t5", tmp_path).load())
    assert {name for name in roles.keys_and_values if "EncDecAttention" in name} == {
        f"decoder.block.{block}.layer.1.EncDecAttention.{kind}" for block in (0, 1) for kind in "kv"
    }
    assert all(name.endswith(("k", "v")) for name in roles.keys_and_values)


def test_looking_leaves_no_trace() -> None:
    network = make_network("llama").train()
    before = {name: p.clone() for name, p in network.named_parameters()}
    find_roles(network)
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    assert all(p.equal(before[name]) and p.grad is None for name, p in network.named_parameters())


def test_scales_do_not_decay(tmp_path: Path) -> None:
    """They are matrices of one row, and 1 is where they do nothing, not 0."""
    _, network = apply_to(make_case("llama", tmp_path), "ia3")
    (group,) = make_optimizer(network, TrainSection(learning_rate=1e-2), {}).param_groups
    assert group["weight_decay"] == 0.0
    assert all(torch.equal(p, torch.ones_like(p)) for p in group["params"])


def test_a_single_scale_other_than_1_changes_the_model(tmp_path: Path) -> None:
    made, network = apply_to(make_case("llama", tmp_path), "ia3")
    assert made.unmoved(network) == "All its scales are 1"
    scale = next(p for p in network.parameters() if p.requires_grad)
    with torch.no_grad():
        scale.view(-1)[-1] = 2.0
    assert made.unmoved(network) == ""


@pytest.mark.parametrize(
    ("options", "what", "fix"),
    [
        ({"targets": ["v_prj"]}, "`v_prj`", "v_proj"),
        ({"targets": ["v_proj"], "feedforward": ["down_proj"]}, "not among", "down_proj"),
        ({"feedforward": ["down_prj"]}, "`ia3.feedforward` names `down_prj`, which this model", "`down_proj`"),
    ],
    ids=str,
)
def test_names_that_do_not_fit_are_refused(options: dict[str, Any], what: str, fix: str) -> None:
    with pytest.raises(RecipeError, match=what) as caught:
        find_layers(make_network("llama"), Ia3Section(**options))
    assert fix in caught.value.fix


def test_a_model_without_keys_values_or_feed_forward_needs_names() -> None:
    """FNet mixes positions by a Fourier transform, without any weights."""
    network = AutoModelForMaskedLM.from_config(FNetConfig(vocab_size=64, hidden_size=16, num_hidden_layers=2))
    with pytest.raises(RecipeError, match="found no keys, values or feed-forward"):
        find_layers(network, Ia3Section())


def test_names_can_be_given() -> None:
    network = make_network("llama")
    assert find_layers(network, Ia3Section(targets=["v_proj", "down_proj"])) == (["down_proj", "v_proj"], ["down_proj"])
    named = Ia3Section(targets=["up_proj"], feedforward=["up_proj"])
    assert find_layers(network, named) == (["up_proj"], ["up_proj"])
    assert {option for option, _, _ in Ia3Method().choices(network, _recipe())} == {"ia3.targets", "ia3.feedforward"}


def _recipe() -> Any:
    from burnish.recipe.schema import Recipe

    return Recipe(method="ia3")
