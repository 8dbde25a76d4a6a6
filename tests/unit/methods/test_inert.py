"""The alarm for adapters that do nothing, on every architecture and for every kind of adapter."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
import transformers

from burnish.methods import make_method
from burnish.methods.adapter import _TOKENS, _fixed_ids, same_outputs, switched_off
from burnish.models.heads import Target
from tests.tiny_architectures import ARCHITECTURES, DECODERS, ENCODERS, save_architecture
from tests.tiny_models import make_network
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


def test_the_few_tokens_are_spread_over_the_vocabulary_from_the_first_to_the_last() -> None:
    network = make_network("llama")
    vocabulary = network.get_input_embeddings().weight.shape[0]
    special = {
        value for name, value in network.config.to_dict().items() if name.endswith("token_id") and value is not None
    }
    plain = [token for token in range(vocabulary) if token not in special]
    (ids,) = _fixed_ids(network).tolist()
    assert len(ids) == _TOKENS
    assert (ids[0], ids[-1]) == (plain[0], plain[-1])
    places = [plain.index(token) for token in ids]
    steps = [after - before for before, after in pairwise(places)]
    assert max(steps) - min(steps) <= 1, "equally far apart"
