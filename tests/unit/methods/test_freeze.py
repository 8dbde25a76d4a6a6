"""Method `freeze`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from burnish.errors import RecipeError
from burnish.methods.full import FreezeMethod, default_blocks
from burnish.models.blocks import block_lists, modules_after
from burnish.models.heads import Target
from burnish.recipe.schema import FreezeSection, Recipe
from tests.tiny_models import make_network
from tests.unit.methods.adapted import make_case


def trained(network: Any, new_modules: tuple[str, ...] = (), **options: Any) -> set[str]:
    """Names of the weights that `freeze` trains."""
    recipe = Recipe(method="freeze", freeze=FreezeSection(**options))
    tuned = FreezeMethod().apply(network, recipe, Target(new_modules=new_modules))
    assert tuned is network
    return {name for name, p in tuned.named_parameters() if p.requires_grad}


def parts(names: set[str], depth: int) -> set[str]:
    """The first parts of dotted names."""
    return {".".join(name.split(".")[:depth]) for name in names}


def test_the_last_block_the_last_norm_and_the_head() -> None:
    assert parts(trained(make_network("llama")), 3) == {"model.layers.1", "model.norm.weight", "lm_head.weight"}
    assert parts(trained(make_network("llama"), blocks=2), 3) >= {"model.layers.0", "model.layers.1"}


@pytest.mark.parametrize("layout", ["gpt2", "qwen2"])
def test_a_tied_head_stays_for_it_is_the_embedding(layout: str) -> None:
    network = make_network(layout)
    names = trained(network)
    assert not any(network.get_parameter(name) is network.get_input_embeddings().weight for name in names)
    assert any("norm" in name or "ln_f" in name for name in names)


def test_what_begins_at_random_is_trained_wherever_it_stands(tmp_path: Path) -> None:
    names = trained(make_case("bert-tag", tmp_path).load(), ("classifier",), modules=["attention.output.dense"])
    assert parts(names, 1) == {"bert", "classifier"}
    assert {name for name in names if name.startswith("bert")} == {
        f"bert.encoder.layer.{block}.attention.output.dense.{kind}" for block in (0, 1) for kind in ("weight", "bias")
    }


def test_of_an_encoder_and_decoder_the_decoder(tmp_path: Path) -> None:
    network = make_case("t5", tmp_path).load()
    assert block_lists(network)[-1] == "decoder.block"
    assert parts(trained(network), 1) <= {"decoder", "lm_head"}


def test_what_follows_the_blocks() -> None:
    network = make_network("gpt2")
    assert modules_after(network, "transformer.h") == ["transformer.ln_f", "lm_head"]


def test_a_last_norm_that_is_registered_first() -> None:
    """As in OPT."""
    from transformers import AutoModelForCausalLM, OPTConfig

    network = AutoModelForCausalLM.from_config(
        OPTConfig(
            vocab_size=64,
            hidden_size=16,
            word_embed_proj_dim=16,
            ffn_dim=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=32,
        )
    )
    assert modules_after(network, "model.decoder.layers") == ["model.decoder.final_layer_norm", "lm_head"]


def test_an_embedding_is_trained_if_it_is_named() -> None:
    assert trained(make_network("qwen2"), modules=["embed_tokens"]) == {"model.embed_tokens.weight"}


def test_a_model_without_blocks_needs_names() -> None:
    with pytest.raises(RecipeError, match="found no blocks"):
        FreezeMethod().choices(nn.Sequential(nn.Linear(2, 2)), Recipe())


@pytest.mark.parametrize(
    ("options", "what", "fix"),
    [
        ({"blocks": 3}, "has 2 blocks", "full"),
        ({"modules": ["q_prj"]}, "`q_prj`", "q_proj"),
        ({"modules": ["act_fn"]}, "nothing to train", "Choose other modules"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], what: str, fix: str) -> None:
    with pytest.raises(RecipeError, match=what) as caught:
        trained(make_network("llama"), **options)
    assert fix in caught.value.fix


def test_a_quarter_of_the_blocks() -> None:
    assert [default_blocks(number) for number in (1, 4, 12, 32)] == [1, 1, 3, 8]
    assert FreezeMethod().choices(make_network("llama"), Recipe())[0][:2] == ("freeze.blocks", 1)
