"""Adapters of other tools whose file also holds embeddings, as PEFT writes them by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from burnish.errors import ModelError
from burnish.methods.lora import LoraMethod
from burnish.models.heads import Target
from burnish.models.location import ModelLocation
from burnish.recipe.schema import LoraSection, Recipe
from tests.tiny_models import make_network

FORMS: dict[str, dict[str, Any]] = {
    "the output layer is adapted": {"target_modules": ["q_proj", "lm_head"]},
    "the embedding is adapted": {"target_modules": ["q_proj", "embed_tokens"]},
    "both are trained in full": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
    "neither is trained": {"target_modules": ["q_proj"]},
}
BASE = ModelLocation("tiny", Path(), False)
IDS = torch.arange(3, 12)[None]


@pytest.fixture(params=FORMS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any], torch.Tensor]:
    """The folder of an adapter, its settings, and the logits that it gives."""
    settings = FORMS[request.param]
    tuned = peft.get_peft_model(make_network("llama"), peft.LoraConfig(r=4, task_type="CAUSAL_LM", **settings))
    torch.manual_seed(1)
    for weight in tuned.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.1)
    tuned.save_pretrained(str(tmp_path), save_embedding_layers=True)
    return tmp_path, settings, tuned.eval()(input_ids=IDS).logits.detach()


def fresh(settings: dict[str, Any]) -> Any:
    """A network with a new adapter of the same form, as training goes on with it."""
    options = LoraSection(
        rank=4, targets=settings["target_modules"], modules_to_save=settings.get("modules_to_save", []), alpha=8
    )
    return LoraMethod().apply(make_network("llama"), Recipe(lora=options), Target())


def test_they_open_as_in_peft(made: tuple[Path, dict[str, Any], torch.Tensor]) -> None:
    folder, _, logits = made
    opened = LoraMethod().open(lambda base: make_network("llama"), BASE, folder)
    assert torch.allclose(opened.eval()(input_ids=IDS).logits, logits, atol=1e-6)


def test_they_go_on_training(made: tuple[Path, dict[str, Any], torch.Tensor]) -> None:
    folder, settings, logits = made
    network = fresh(settings)
    LoraMethod().take(network, folder)
    assert torch.allclose(network.eval()(input_ids=IDS).logits, logits, atol=1e-6)


def test_an_embedding_of_its_own_is_merged_first(made: tuple[Path, dict[str, Any], torch.Tensor]) -> None:
    folder, settings, _ = made
    file = folder / "adapter_model.safetensors"
    weights = load_file(str(file))
    copies = [name for name in weights if name.endswith((".base_layer.weight", "embed_tokens.weight"))]
    if "modules_to_save" in settings:
        copies = []  # trained in full, it is the adapter's own
    for name in copies:
        weights[name] = weights[name] + 1
    save_file(weights, str(file))
    if copies:
        with pytest.raises(ModelError, match="cannot go on training as it is") as refused:
            LoraMethod().take(fresh(settings), folder)
        assert "start.how=merge" in refused.value.fix


def test_other_tensors_of_the_base_are_still_refused(made: tuple[Path, dict[str, Any], torch.Tensor]) -> None:
    folder, settings, _ = made
    file = folder / "adapter_model.safetensors"
    name = "base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight"
    save_file({**load_file(str(file)), name: torch.zeros(32, 32)}, str(file))
    with pytest.raises(ModelError, match="was not applied"):
        LoraMethod().take(fresh(settings), folder)
    with pytest.raises(ModelError, match="was not applied"):
        LoraMethod().open(lambda base: make_network("llama"), BASE, folder)
