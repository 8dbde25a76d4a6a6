"""A network built from its config alone is the loaded one, but for the numbers."""

from __future__ import annotations

import copy
import resource
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensor
from transformers import AutoConfig, BertForSequenceClassification, LlamaConfig

from burnish.methods import make_method
from burnish.models.base import Loading, load_base
from burnish.models.blocks import held_tensors, linear_layers, memory_bytes
from burnish.models.heads import CAUSAL, Head
from burnish.models.location import ModelLocation
from burnish.models.quantization import int8_bytes, nf4_bytes
from burnish.models.skeleton import Skeleton
from burnish.recipe.schema import ModelSection
from tests.tiny_classifiers import word_pieces
from tests.tiny_models import make_network, make_tokenizer, save_model
from tests.tiny_steps import save_tiny, tiny_config, tokenizer_of

CPU = torch.device("cpu")
LABELS = Head("AutoModelForSequenceClassification", "SEQ_CLS", {"num_labels": 3, "ignore_mismatched_sizes": True})
TEXT_TO_TEXT = Head("AutoModelForSeq2SeqLM", "SEQ_2_SEQ_LM")
HEADS = {"gpt2": CAUSAL, "llama": CAUSAL, "bert": LABELS, "t5": TEXT_TO_TEXT}


def both(folder: Path, head: Head, tokenizer: Any, loading: Loading) -> tuple[Any, Any]:
    """The skeleton, and the loaded base."""
    skeleton = Skeleton(AutoConfig.from_pretrained(folder), head, loading, tokenizer)
    base = load_base(ModelLocation("tiny", folder, False), ModelSection(), tokenizer, CPU, loading, head)
    return skeleton, base


def facts(network: Any) -> dict[str, tuple[Any, ...]]:
    """Shape and type of every weight and buffer, by name."""
    named = [*network.named_parameters(), *network.named_buffers()]
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in named}


def ties(network: Any) -> set[frozenset[str]]:
    """Names that are the same weight."""
    names: dict[int, set[str]] = {}
    for name, weight in network.named_parameters(remove_duplicate=False):
        names.setdefault(id(weight), set()).add(name)
    return {frozenset(shared) for shared in names.values() if len(shared) > 1}


def layouts(network: Any) -> Counter[tuple[Any, ...]]:
    """Size and type of every tensor that is held, one that stands twice once."""
    held = {tensor.data_ptr() or id(tensor): tensor for tensor in held_tensors(network)}
    return Counter((tensor.numel(), tensor.dtype) for tensor in held.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", HEADS)
def test_it_has_what_the_loaded_model_has(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    skeleton, base = both(save_tiny(name, tmp_path), HEADS[name], tokenizer_of(name), Loading(dtype))
    assert type(skeleton.network) is type(base.network)
    assert facts(skeleton.network) == facts(base.network)
    assert ties(skeleton.network) == ties(base.network)
    assert bool(ties(base.network)) == (name in ("gpt2", "t5"))
    assert skeleton.new_modules == base.new_modules
    assert bool(base.new_modules) == (name == "bert")


@pytest.mark.parametrize(("labels", "is_new"), [(3, False), (5, True)])
def test_a_checkpoint_with_a_head_keeps_it_where_the_labels_are_as_many(
    labels: int, is_new: bool, tmp_path: Path
) -> None:
    config = tiny_config("bert")
    config.num_labels = labels
    save_model(tmp_path, BertForSequenceClassification(config), word_pieces())
    skeleton, base = both(tmp_path, LABELS, word_pieces(), Loading(torch.float32))
    assert skeleton.new_modules == base.new_modules == (("classifier",) if is_new else ())
    assert facts(skeleton.network) == facts(base.network)


@pytest.mark.parametrize("layout", ["llama", "qwen2"])
def test_added_tokens_get_rows(layout: str, tmp_path: Path) -> None:
    """With a head of its own, and with a tied one."""
    tokenizer = make_tokenizer()
    save_model(tmp_path, make_network(layout, vocabulary=300), tokenizer)
    tokenizer.add_tokens(["<one>", "<two>"])
    skeleton, base = both(tmp_path, CAUSAL, tokenizer, Loading(torch.float32))
    assert skeleton.network.get_input_embeddings().num_embeddings == len(tokenizer)
    assert facts(skeleton.network) == facts(base.network)
    assert ties(skeleton.network) == ties(base.network)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("method", ["qlora", "int8-lora"])
def test_quantized_layers_hold_what_real_ones_hold(method: str, name: str, tmp_path: Path) -> None:
    loading = make_method(method).loading(torch.bfloat16, CPU)
    skeleton, base = both(save_tiny(name, tmp_path), HEADS[name], tokenizer_of(name), loading)
    assert layouts(skeleton.network) == layouts(base.network)
    modules = dict(base.network.named_modules())
    for module_name, module in skeleton.network.named_modules():
        assert type(module) is type(modules[module_name]), module_name


@pytest.mark.parametrize(("method", "formula"), [("qlora", nf4_bytes), ("int8-lora", int8_bytes)])
def test_quantized_layers_take_the_bytes_of_the_formula(method: str, formula: Any) -> None:
    loading = make_method(method).loading(torch.bfloat16, CPU)
    network = Skeleton(tiny_config("llama"), CAUSAL, loading).network
    for name in linear_layers(network):
        layer = network.get_submodule(name)
        held = {id(one): one.numel() * one.element_size() for one in held_tensors(layer)}
        assert sum(held.values()) == formula(layer.out_features, layer.in_features)


def test_nothing_is_allocated() -> None:
    """8 B parameters in fp32 would be 32 GB."""
    config = LlamaConfig(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8,
        vocab_size=128256,
    )  # fmt: skip
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    network = Skeleton(config, CAUSAL, Loading(torch.float32)).network
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert memory_bytes(network) > 30e9
    assert grown * 1024 < 1e9
    assert all(isinstance(tensor, FakeTensor) for tensor in network.parameters())
    assert {tensor.device for tensor in network.parameters()} == {CPU}


def test_what_a_method_adds_is_filled_too() -> None:
    """Real weights become fake, a tie stays one, and what is trained stays so."""
    skeleton = Skeleton(tiny_config("gpt2"), CAUSAL, Loading(torch.float32))
    network = skeleton.network
    network.extra = torch.nn.Linear(4, 4)
    network.again = torch.nn.Linear(4, 4)
    network.again.weight = network.extra.weight
    network.extra.bias.requires_grad_(False)
    kept = network.get_input_embeddings().weight
    skeleton.fill(network)
    assert all(isinstance(weight, FakeTensor) for weight in network.parameters())
    assert network.extra.weight is network.again.weight
    assert (network.extra.weight.requires_grad, network.extra.bias.requires_grad) == (True, False)
    assert network.get_input_embeddings().weight is kept is network.get_output_embeddings().weight


def test_copies_of_fake_weights_get_the_mode_of_the_others() -> None:
    """PEFT copies the modules that it trains in full, and with their fake weights the mode that made them."""
    skeleton = Skeleton(tiny_config("gpt2"), CAUSAL, Loading(torch.float32))
    network = skeleton.network
    network.copied = copy.deepcopy(network.transformer.h[0])
    network.copied.requires_grad_(False)
    skeleton.fill(network)
    assert len({id(weight.fake_mode) for weight in network.parameters() if isinstance(weight, FakeTensor)}) == 1
    assert not any(weight.requires_grad for weight in network.copied.parameters())


def test_the_config_is_not_changed() -> None:
    config = tiny_config("bert")
    Skeleton(config, LABELS, Loading(torch.float32))
    assert config.num_labels == transformers.BertConfig().num_labels == 2
