"""Adapters around layers whose weights are packed, beside PEFT's own arithmetic."""

from __future__ import annotations

from typing import Any

import peft
import pytest
import torch
from torch import nn

from burnish.models import packed_linear
from burnish.models.adapted_product import AdaptedProduct
from burnish.models.answering import arrange_for_answers
from burnish.models.packed_linear import can_pack
from tests.tiny_adapters import with_adapter
from tests.tiny_models import make_network

pytestmark = pytest.mark.skipif(not can_pack(torch.float32), reason="this build of torch has no oneDNN")
ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
IDS = torch.arange(3, 60).view(3, 19)


@pytest.fixture(autouse=True)
def packs_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny models are packed too."""
    monkeypatch.setattr(packed_linear, "_LEAST", 1)


def adapted(targets: tuple[str, ...] = ALL) -> Any:
    return with_adapter(make_network("llama", 60).eval(), targets, is_fused=False).eval()


def add(network: Any, name: str, targets: tuple[str, ...], **options: Any) -> None:
    """Another adapter, which is then the active one."""
    torch.manual_seed(7)
    network.add_adapter(name, peft.LoraConfig(r=3, target_modules=list(targets), lora_alpha=5, **options))
    for weight_name, weight in network.named_parameters():
        if f"lora_B.{name}" in weight_name:
            nn.init.normal_(weight, std=0.2)
    network.set_adapter(name)
    network.requires_grad_(False)


@torch.no_grad()
def logits(network: Any) -> torch.Tensor:
    return network(input_ids=IDS).logits


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("targets", [ALL, ("q_proj", "v_proj"), ("down_proj", "up_proj"), ("o_proj",)])
def test_an_adapter_gives_what_it_gave(targets: tuple[str, ...]) -> None:
    network = adapted(targets)
    with network.disable_adapter():
        base = logits(network)
    expected = logits(network)
    assert (expected - base).abs().max() > 1e-2
    arrange_for_answers(network, "fp32")
    kinds = {type(layer).__name__ for layer in network.modules()}
    assert {"AnsweringLlamaDecoderLayer", "AnsweringLlamaAttention", "AnsweringLlamaMLP"} <= kinds
    assert_close(logits(network), expected)
    with network.disable_adapter():
        assert_close(logits(network), base)
    assert_close(logits(network), expected)


def test_adapters_that_come_later_take_turns() -> None:
    """Also around layers that had none, and after one of the same name was taken away."""
    network, plain = adapted(("q_proj", "v_proj")), adapted(("q_proj", "v_proj"))
    arrange_for_answers(network, "fp32")
    assert_close(logits(network), logits(plain))
    for one in (network, plain):
        add(one, "other", ("gate_proj", "down_proj", "o_proj"))
    assert_close(logits(network), logits(plain))
    for name in ("default", "other", "default"):
        for one in (network, plain):
            one.set_adapter(name)
        assert_close(logits(network), logits(plain))
    for one in (network, plain):
        one.delete_adapter("other")
        add(one, "other", ALL)
    assert_close(logits(network), logits(plain))
    held = [layer.burnish_joined for layer in network.modules() if hasattr(layer, "burnish_joined")]
    assert all(isinstance(one, AdaptedProduct) and len(one._made) <= 2 for one in held)


def test_what_is_not_plain_gives_no_answer_rather_than_a_wrong_one() -> None:
    network = adapted()
    arrange_for_answers(network, "fp32")
    add(network, "second", ALL)
    network.base_model.set_adapter(["default", "second"])
    with pytest.raises(TypeError, match="not computed with packed weights"):
        logits(network)
    network.set_adapter("default")
    network.delete_adapter("second")
    block = network.base_model.model.model.layers[0]
    block.mlp.down_proj = nn.Sequential(block.mlp.down_proj)
    with pytest.raises(TypeError, match="none of LoRA"):
        logits(network)


@pytest.mark.parametrize("options", [{"use_dora": True}, {"lora_bias": True}])
def test_layers_with_other_adapters_stay_as_they_are(options: dict[str, Any]) -> None:
    network = peft.get_peft_model(
        make_network("llama", 60), peft.LoraConfig(r=4, target_modules=["q_proj", "up_proj"], **options)
    ).eval()
    expected = logits(network)
    arrange_for_answers(network, "fp32")
    kinds = {type(layer).__name__ for layer in network.modules()}
    assert not {"AnsweringLlamaAttention", "AnsweringLlamaMLP"} & kinds
    assert_close(logits(network), expected)


def test_a_row_gives_the_same_alone_and_among_others() -> None:
    network = adapted()
    arrange_for_answers(network, "fp32")
    product = network.base_model.model.model.layers[0].mlp.burnish_output
    inputs = torch.randn(24, 64)
    inputs = inputs[:, : product._layers["down_proj"].base_layer.in_features]
    with torch.no_grad():
        whole = product.product(inputs)
        assert torch.equal(torch.cat([product.product(row[None]) for row in inputs]), whole)
