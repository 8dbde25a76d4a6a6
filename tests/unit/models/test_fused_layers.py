"""Layers are fused where a trial shows the same, compute the same afterwards, and are left alone elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import nn

from burnish.models.fused_layers import adapted, install_fused_layers
from tests.tiny_adapters import with_adapter
from tests.tiny_architectures import DECODER
from tests.tiny_models import make_network
from tests.unit.models.tiny_families import plain_inputs

FAMILIES = {
    "Llama": {"MLP", "Attention"},
    "Mistral": {"MLP", "Attention"},
    "Qwen2": {"MLP", "Attention"},
    "Gemma": {"MLP", "Attention"},
    "Olmo": {"MLP", "Attention"},
    "Qwen3": {"MLP"},
    "Gemma2": {"MLP"},
    "Cohere": {"MLP"},
    "Phi3": set(),
}
"""Which layers of a family are fused: Qwen3 normalizes queries and keys, Gemma2 bends scores, Cohere turns neighbors,
and Phi3 has other layers."""


def family(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**{**DECODER, "pad_token_id": 0, **options})
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def fused_layers(network: nn.Module) -> set[str]:
    """Names of the fused classes."""
    return {type(layer).__name__ for layer in network.modules() if type(layer).__name__.startswith("Fused")}


def gradients(network: Any) -> list[torch.Tensor]:
    """Loss, and gradients of everything that is trained."""
    inputs = plain_inputs("llama")
    loss = network(**inputs, labels=inputs["input_ids"], use_cache=False).loss
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    return [loss.detach(), *torch.autograd.grad(loss, trained)]


@pytest.mark.parametrize("name", FAMILIES)
def test_which_layers_of_a_family_are_fused(name: str) -> None:
    network = family(name)
    kinds = [type(layer) for layer in network.modules()]
    undo = install_fused_layers(network)
    assert fused_layers(network) == {f"Fused{name}{kind}" for kind in FAMILIES[name]}
    if undo is not None:
        undo()
    assert [type(layer) for layer in network.modules()] == kinds


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], ["gate_proj", "down_proj"], ["o_proj"]], ids=str)
@pytest.mark.parametrize("name", [name for name, kinds in FAMILIES.items() if kinds])
def test_loss_and_gradients_are_those_of_the_single_operations(name: str, targets: list[str]) -> None:
    plain = gradients(with_adapter(family(name), targets, False))
    network = family(name)
    install_fused_layers(network)
    fused = gradients(with_adapter(network, targets, True))
    assert len(plain) == len(fused)
    for one, two in zip(plain, fused, strict=True):
        assert (one - two).norm() <= 1e-3 * one.norm() + 1e-9


def test_a_layer_that_clips_is_not_fused() -> None:
    assert fused_layers(_installed(family("Olmo", clip_qkv=8.0))) == {"FusedOlmoMLP"}


def test_trained_weights_take_the_layers_own_way() -> None:
    plain = gradients(family("Llama"))
    fused = gradients(_installed(family("Llama")))
    assert all(torch.equal(one, two) for one, two in zip(plain, fused, strict=True))


def test_a_layer_with_a_hook_is_no_part_of_an_operation() -> None:
    """What watches or changes a layer's output must see it."""
    layer = nn.Linear(4, 4).requires_grad_(False)
    assert adapted(layer) is not None
    layer.register_forward_hook(lambda *_: None)
    assert adapted(layer) is None


def test_without_gradients_the_outputs_are_the_same_also_with_a_cache() -> None:
    plain, fused = make_network("llama"), _installed(make_network("llama"))
    with torch.no_grad():
        for use_cache in (False, True):
            inputs = {**plain_inputs("llama"), "use_cache": use_cache}
            assert torch.allclose(plain(**inputs).logits, fused(**inputs).logits, atol=1e-5)


def test_a_disabled_adapter_is_computed_as_the_base_model_is() -> None:
    """To the bit: whether an adapter changes any logit is decided by comparing both."""
    network = _installed(family("Llama").bfloat16())
    tuned = with_adapter(network, ["q_proj", "up_proj"], True)
    for name, weight in tuned.named_parameters():
        if "lora_B" in name:
            nn.init.zeros_(weight)
    with torch.no_grad():
        on = tuned(**plain_inputs("llama")).logits
        with tuned.disable_adapter():
            off = tuned(**plain_inputs("llama")).logits
            layer = tuned.get_submodule("base_model.model.model.layers.0.self_attn.q_proj")
            part = adapted(layer)
    assert part is not None
    assert part.down is None
    assert torch.equal(on, off)


def test_finding_them_draws_no_random_numbers() -> None:
    network = make_network("llama")
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    install_fused_layers(network)
    assert torch.equal(torch.rand(1), expected)


def _installed(network: Any) -> Any:
    install_fused_layers(network)
    return network
