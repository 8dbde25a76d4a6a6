"""Which layers get an adapter in models that are more than attention and a feed-forward: experts, state spaces."""

from __future__ import annotations

import logging
import logging.handlers
from contextlib import nullcontext
from typing import Any

import peft
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoConfig, AutoModelForCausalLM

from burnish.errors import RecipeError
from burnish.methods.lora import LoraMethod, find_targets
from burnish.models.blocks import block_lists, linear_layers, read_in_place, routers
from burnish.models.heads import CAUSAL, Target
from burnish.models.quantization import skipped_modules
from burnish.models.skeleton import quiet_fakes
from burnish.recipe.schema import LoraSection, Recipe

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 1}
STATES = {"state_size": 4, "expand": 2}
ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
FEED_FORWARD = {"gate_proj", "up_proj", "down_proj"}
MODELS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "phimoe": (EXPERTS, ATTENTION),
    "llama4_text": ({**EXPERTS, "intermediate_size_mlp": 48}, ATTENTION | FEED_FORWARD),
    "mamba": ({**STATES, "time_step_rank": 4}, {"in_proj"}),
    "mamba2": ({**STATES, "num_heads": 8, "n_groups": 1, "chunk_size": 8}, {"in_proj"}),
    "jamba": (
        {
            "num_hidden_layers": 4, "num_experts": 4, "num_experts_per_tok": 1, "attn_layer_period": 2,
            "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1, "mamba_d_state": 4,
            "mamba_dt_rank": 4, "use_mamba_kernels": False,
        },
        ATTENTION | FEED_FORWARD | {"in_proj", "x_proj", "out_proj"},
    ),
    "afmoe": (
        {"num_experts": 4, "num_experts_per_tok": 1, "num_dense_layers": 0, "moe_intermediate_size": 24,
         "num_shared_experts": 1, "num_hidden_layers": 4},
        # its attention has a gate, too; that of the experts is left out
        ATTENTION | FEED_FORWARD | {"self_attn.gate_proj"},
    ),
    "jetmoe": (
        {"kv_channels": 8, "num_key_value_heads": 4, "num_local_experts": 4, "num_experts_per_tok": 1},
        {"kv_proj"},
    ),
}  # fmt: skip


def network_of(kind: str) -> Any:
    """A tiny random model of a kind."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **{**SIZES, **MODELS[kind][0]})
    return AutoModelForCausalLM.from_config(config).float()


@pytest.mark.parametrize("kind", MODELS)
def test_every_automatic_target_is_trained(kind: str) -> None:
    network = network_of(kind)
    targets = find_targets(network, LoraSection())
    assert {one.rpartition(".")[2] for one in targets} <= {one.rpartition(".")[2] for one in MODELS[kind][1]}
    assert {one.rpartition(".")[2] for one in MODELS[kind][1]} <= {one.rpartition(".")[2] for one in targets}
    adapted = LoraMethod().apply(network, Recipe(), Target())
    assert isinstance(adapted, peft.PeftModel)
    adapted(input_ids=torch.arange(3, 12)[None], labels=torch.arange(3, 12)[None], use_cache=False).loss.backward()
    ups = {name: weight.grad for name, weight in adapted.named_parameters() if ".lora_B." in name}
    assert ups and not [name for name, gradient in ups.items() if gradient is None or not gradient.any()]


def test_layers_that_choose_among_experts_are_found_by_their_width() -> None:
    parts = ("mlp.router.layer", "self_attention.experts.router.layer")
    assert routers(network_of("jetmoe")) == [f"model.layers.{block}.{part}" for block in (0, 1) for part in parts]
    assert routers(network_of("afmoe")) == [f"model.layers.{block}.mlp.router.gate" for block in range(4)]
    assert routers(network_of("mamba")) == []


def test_a_router_that_is_a_layer_of_its_own_kind_is_no_linear_layer() -> None:
    for kind in ("phimoe", "llama4_text"):
        assert not [name for name in linear_layers(network_of(kind)) if "router" in name]


def test_blocks_of_several_classes_are_blocks() -> None:
    assert block_lists(network_of("jamba")) == ["model.layers"]


def test_a_layer_whose_weight_the_model_reads_itself_is_refused_by_name() -> None:
    for name in ("out_proj", "dt_proj"):
        with pytest.raises(RecipeError, match=rf"`backbone.layers.0.mixer.{name}`, which cannot be adapted"):
            find_targets(network_of("mamba"), LoraSection(targets=["in_proj", name]))
    # it is called without the kernel that reads it
    assert find_targets(network_of("mamba"), LoraSection(targets=["x_proj"])) == ["x_proj"]
    assert find_targets(network_of("jamba"), LoraSection(targets=["out_proj"])) == ["out_proj"]


@pytest.mark.parametrize("kind", ["mamba", "mamba2"])
def test_what_the_model_reads_itself_is_not_quantized(kind: str) -> None:
    config = AutoConfig.for_model(kind, **{**SIZES, **MODELS[kind][0]})
    skipped = skipped_modules(config, CAUSAL, trust_remote_code=False)
    assert {f"^{name}$" for name in read_in_place(network_of(kind))} < set(skipped)


def test_torch_does_not_write_what_it_cannot_simulate() -> None:
    logger, seen = logging.getLogger(FakeTensorMode.__module__), logging.handlers.BufferingHandler(99)
    logger.addHandler(seen)
    try:
        for silence, number in ((nullcontext, 1), (quiet_fakes, 0)):
            seen.buffer.clear()
            with silence(), FakeTensorMode():
                weight = torch.empty(2, 3)
                with pytest.raises(RuntimeError):
                    torch.addmm(weight, weight, weight)
            assert len(seen.buffer) == number
    finally:
        logger.removeHandler(seen)
