"""The alarm for adapters that do nothing, on every architecture and for every kind of adapter."""

from __future__ import annotations

from contextlib import nullcontext
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from burnish.methods import make_method
from burnish.methods.adapter import _fixed_ids, _precision, same_outputs, switched_off
from burnish.models.device import PRECISIONS
from burnish.models.heads import Target
from tests.tiny_architectures import ARCHITECTURES, DECODERS, ENCODERS, save_architecture
from tests.tiny_models import make_network, make_tokenizer
from tests.tiny_training import with_method
from tests.unit.methods.adapted import apply_to, make_case, recipe_for

HEADS = ("bert-classify", "bert-tag", "bert-span", "t5")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_answers_the_few_tokens(name: str, tmp_path: Path) -> None:
    kinds = (("CausalLM", "CAUSAL_LM"), ("MaskedLM", None), ("Seq2SeqLM", "SEQ_2_SEQ_LM"))
    kind, peft_type = kinds[0 if name in DECODERS else 1 if name in ENCODERS else 2]
    base = getattr(transformers, f"AutoModelFor{kind}").from_pretrained(save_architecture(name, tmp_path / "base"))
    network = make_method("lora").apply(base, recipe_for("lora"), Target(peft_type))
    assert same_outputs(network, switched_off(network))
    for parameter_name, parameter in network.named_parameters():
        if "lora_B" in parameter_name:
            parameter.data.normal_(std=0.1)
    assert not same_outputs(network, switched_off(network))


@pytest.mark.parametrize("method", ["lora", "ia3"])
@pytest.mark.parametrize("name", HEADS)
def test_every_head_is_looked_at(name: str, method: str, tmp_path: Path) -> None:
    made, network = apply_to(make_case(name, tmp_path / "base"), method)
    assert made.unmoved(network)
    assert same_outputs(network, switched_off(network))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(0.01)
    assert not made.unmoved(network)
    assert network.training, "it is left as it was"


def test_one_changed_logit_is_enough() -> None:
    network = with_method(make_network("llama"), "lora").eval()
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            parameter.data.zero_()
            if "layers.1.mlp.down_proj" in name:
                parameter.data[0, 0] = 1e-3
    assert not same_outputs(network, switched_off(network))


@pytest.mark.parametrize("init", ["pissa", "olora"])
def test_an_adapter_taken_out_of_the_base_is_idle_until_it_moves(init: str, tmp_path: Path) -> None:
    made, network = apply_to(make_case("llama", tmp_path / "base"), "lora", init=init)
    assert made.unmoved(network) == "Its matrices have their initial values"
    matrix = next(p for n, p in network.named_parameters() if ".lora_A." in n).data
    matrix.view(-1)[matrix.abs().argmin()] += 1e-8 * matrix.abs().max()
    assert made.unmoved(network) == "Its matrices have their initial values", "less than fp32 tells apart in a product"
    matrix[0, 0] += 1e-4
    assert not made.unmoved(network)


def test_dropout_is_off_while_outputs_are_compared() -> None:
    network = make_method("lora").apply(make_network("llama"), recipe_for("lora", dropout=0.5), Target())
    with torch.no_grad():
        next(p for n, p in network.named_parameters() if "lora_B" in n).add_(1e-3)
    before = network.train()
    tuned = [_outputs_in_training(before) for _ in range(2)]
    assert not tuned[0].equal(tuned[1]), "in training they differ"
    assert same_outputs(network, nullcontext())
    assert network.training
    assert not same_outputs(network.eval(), switched_off(network))
    assert not network.training


def _outputs_in_training(network: Any) -> torch.Tensor:
    with torch.no_grad():
        return network(input_ids=torch.arange(5, 13)[None]).logits


def test_a_network_without_logits_shows_nothing() -> None:
    network = make_network("llama")
    assert same_outputs(network, nullcontext())
    assert not same_outputs(network.model, nullcontext())


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_the_precision_is_that_of_the_base(name: str) -> None:
    """Adapters are in fp32 over any."""
    assert _precision(nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2, dtype=PRECISIONS[name])])) == name


def test_tokens_with_a_meaning_of_their_own_are_left_out() -> None:
    """Also those of the text part, as of a model with pictures; not every number of a config is a token."""
    config = {"image_token_index": 3, "eos_token_id": [1, 2], "hidden_size": 5, "pad_token_id": None}
    network = SimpleNamespace(
        get_input_embeddings=lambda: nn.Embedding(12, 4),
        config=SimpleNamespace(to_dict=lambda: {**config, "text_config": {"bos_token_id": 0, "width": 11}}),
        device=torch.device("cpu"),
    )
    assert _fixed_ids(network).tolist() == [[1, 2, 4, 5, 7, 8, 9, 11]]


def test_added_tokens_alone_move_an_adapter(tmp_path: Path) -> None:
    """Their rows begin as those of the base, which are not zero."""
    tokenizer = make_tokenizer()
    made, network = apply_to(make_case("llama", tmp_path), "lora", tokenizer, added_tokens=[tokenizer.eos_token])
    assert made.unmoved(network) == "All its matrices B are zero"
    rows = [p for n, p in network.named_parameters() if "trainable_tokens_delta" in n]
    assert len(rows) == 2
    with torch.no_grad():
        rows[-1].view(-1)[-1] += 1.0
    assert made.changes(network)


@pytest.mark.parametrize("method", ["prompt", "p-tuning", "prefix"])
def test_virtual_tokens_that_are_all_zero_are_idle(method: str, tmp_path: Path) -> None:
    made, network = apply_to(make_case("llama", tmp_path), method)
    assert made.unmoved(network) == ""
    parameters = list(network.prompt_encoder.parameters())
    with torch.no_grad():
        for parameter in parameters:
            parameter.zero_()
        assert made.unmoved(network) == "All its virtual tokens are zero"
        parameters[-1].view(-1)[-1] = 1.0
    assert made.changes(network)


def test_the_few_tokens_are_spread_over_the_vocabulary_from_the_first_to_the_last() -> None:
    network = make_network("llama")
    vocabulary = network.get_input_embeddings().weight.shape[0]
    special = {
        value for name, value in network.config.to_dict().items() if name.endswith("token_id") and value is not None
    }
    plain = [token for token in range(vocabulary) if token not in special]
    (ids,) = _fixed_ids(network).tolist()
    assert len(ids) == 8
    assert (ids[0], ids[-1]) == (plain[0], plain[-1])
    places = [plain.index(token) for token in ids]
    steps = [after - before for before, after in pairwise(places)]
    assert max(steps) - min(steps) <= 1, "equally far apart"
