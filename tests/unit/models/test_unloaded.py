"""Tensors in the files of a base model that its class does not load."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from burnish.models.base import BaseModel, Loading, load_base, load_tokenizer
from burnish.models.heads import CAUSAL, SEQUENCE_CLASSIFIER, Head
from burnish.models.location import ModelLocation
from burnish.prepare.model import load_network
from burnish.recipe.schema import ModelSection, Recipe
from burnish.runs.events import Event, Warned
from tests.snapshots import check_text
from tests.tiny_architectures import DECODER
from tests.tiny_contexts import tiny_context
from tests.tiny_models import make_tokenizer, save_model


@pytest.fixture
def model(tiny_model: Callable[[str], Path], tmp_path: Path) -> Path:
    """A model folder that a test may change."""
    return Path(shutil.copytree(tiny_model("llama"), tmp_path / "model"))


def load(model: Path, head: Head = CAUSAL) -> BaseModel:
    """The model of a folder, on the CPU."""
    location, section = ModelLocation("mine", model, False), ModelSection()
    tokenizer = load_tokenizer(location, section)
    return load_base(location, section, tokenizer, torch.device("cpu"), Loading(torch.float32), head)


def put(model: Path, *names: str) -> None:
    """Puts further tensors into the weights of a model."""
    file = model / "model.safetensors"
    save_file({**load_file(file), **{name: torch.ones(2) for name in names}}, file, metadata={"format": "pt"})


BUFFERS = (
    "model.layers.0.self_attn.rotary_emb.inv_freq",
    "model.embeddings.position_ids",
    "model.layers.1.attn.masked_bias",
)


def test_heads_that_the_class_does_not_load_are_named(model: Path) -> None:
    put(model, "mtp.fc.weight", "mtp.layers.0.norm.weight", "score.weight", "model.visual.patch.weight", *BUFFERS)
    check_text(load(model).unloaded)


def test_buffers_that_a_model_computes_are_not(model: Path) -> None:
    put(model, *BUFFERS)
    assert load(model).unloaded == ""


def test_an_output_layer_that_a_task_replaces_is_not(model: Path) -> None:
    """A classifier has no layer for words, and that is what was asked for; a part of the body is named all the same."""
    head = Head(SEQUENCE_CLASSIFIER, "SEQ_CLS", {"num_labels": 2})
    assert load(model, head).unloaded == ""
    put(model, "model.visual.patch.weight")
    assert "1 tensor that `LlamaForSequenceClassification` does not load (`model.visual`)" in load(model, head).unloaded


def test_what_a_class_ignores_on_purpose_is_named(tmp_path: Path) -> None:
    """transformers does not report it. Experts have other names in the files than in the class, and are loaded."""
    sizes = {"n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "n_shared_experts": 1, "n_routed_experts": 2}
    ranks = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8}
    options = {**DECODER, "num_key_value_heads": 4, "vocab_size": 300}
    config = transformers.DeepseekV3Config(
        **options, **sizes, **ranks, moe_intermediate_size=16, num_experts_per_tok=1, head_dim=4
    )
    network = transformers.AutoModelForCausalLM.from_config(config)
    network._keys_to_ignore_on_load_unexpected = None
    model = save_model(tmp_path / "model", network, make_tokenizer())
    assert any(".experts.0." in name for name in load_file(model / "model.safetensors"))
    assert load(model).unloaded == ""
    put(model, "model.layers.61.eh_proj.weight", "model.layers.61.enorm.weight")
    assert "2 tensors that `DeepseekV3ForCausalLM` does not load (`model.layers.61`)" in load(model).unloaded


@pytest.mark.parametrize(("method", "loses"), [("full", True), ("freeze", True), ("lora", False)])
def test_methods_that_save_the_whole_model_name_them_before_training(method: str, loses: bool, model: Path) -> None:
    put(model, "mtp.fc.weight")
    events: list[Event] = []
    location = ModelLocation("mine", model, False)
    options = {"model": {"precision": "fp32", "device": "cpu", "kernels": "reference"}}
    context = tiny_context(
        Recipe().with_options(**options), make_tokenizer(), method=method, location=location, emit=events.append
    )
    load_network(context)
    warned = [event.text for event in events if isinstance(event, Warned)]
    assert len(warned) == loses
    assert all("the saved model will not have it" in text for text in warned)
