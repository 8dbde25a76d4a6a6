"""Loading a base model, and knowing it again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from burnish.errors import ModelError
from burnish.models.base import BaseModel, Loading, load_base, load_tokenizer
from burnish.models.heads import CAUSAL, Head
from burnish.models.location import ModelLocation
from burnish.recipe.schema import ModelSection
from tests.snapshots import check_message


@pytest.fixture
def model(tiny_model: Callable[[str], Path], tmp_path: Path) -> Path:
    """A model folder that a test may damage."""
    return Path(shutil.copytree(tiny_model("llama"), tmp_path / "model"))


def load(model: Path, weights: torch.dtype = torch.float32, head: Head = CAUSAL) -> BaseModel:
    """The model of a folder, on the CPU."""
    location, section = ModelLocation("mine", model, False), ModelSection()
    tokenizer = load_tokenizer(location, section)
    return load_base(location, section, tokenizer, torch.device("cpu"), Loading(weights), head)


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_loads_the_weights_as_they_are_in_the_type_asked_for(weights: torch.dtype, model: Path) -> None:
    base = load(model, weights)
    stored = load_file(model / "model.safetensors")
    held = base.network.state_dict()
    assert stored
    assert all(torch.equal(held[name], tensor.to(weights)) for name, tensor in stored.items())
    assert base.notes == []
    assert base.new_modules == ()
    assert base.tokenizer.pad_token == "<|pad|>"


def test_a_tokenizer_without_a_pad_token_gets_one(model: Path) -> None:
    file = model / "tokenizer_config.json"
    config = json.loads(file.read_text())
    config.pop("pad_token")
    file.write_text(json.dumps(config))
    base = load(model)
    assert base.tokenizer.pad_token == "<|pad|>"


def test_weights_that_are_not_whole_are_refused(model: Path) -> None:
    """transformers would start the missing ones at random and say so in a log."""
    weights = load_file(model / "model.safetensors")
    lost = "model.layers.1.mlp.up_proj.weight"
    del weights[lost]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError) as caught:
        load(model)
    check_message(caught.value)
    assert lost in caught.value.why


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def garble(file: Path) -> None:
    file.write_text("{not json")


def unknown_kind(file: Path) -> None:
    config = {**json.loads(file.read_text()), "model_type": "nonesuch", "architectures": ["NonesuchForCausalLM"]}
    file.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("model.safetensors", truncate),
        ("model.safetensors", garble),
        ("config.json", garble),
        ("config.json", unknown_kind),
        ("tokenizer.json", garble),
    ],
)
def test_a_damaged_folder_is_reported_in_words(file: str, damage: Callable[[Path], Any], model: Path) -> None:
    damage(model / file)
    with pytest.raises(ModelError, match="`mine`") as caught:
        load(model)
    assert caught.value.exit_code == 2
    assert caught.value.why


def test_a_tokenizer_of_far_too_many_tokens_is_refused(model: Path) -> None:
    """Loading it would take minutes."""
    file = model / "tokenizer_config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config["additional_special_tokens"] = [f"<{number}>" for number in range(50_001)]
    file.write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ModelError, match="adds 50,001 tokens in `tokenizer_config.json`"):
        load(model)


def test_a_token_whose_number_no_vocabulary_has_is_refused(model: Path) -> None:
    """Writing the vocabulary out would take memory for every number before it."""
    file = model / "tokenizer.json"
    saved = json.loads(file.read_text(encoding="utf-8"))
    saved["model"]["vocab"][next(iter(saved["model"]["vocab"]))] = 2**31
    file.write_text(json.dumps(saved), encoding="utf-8")
    with pytest.raises(ModelError) as caught:
        load(model)
    assert "has the number 2,147,483,648" in caught.value.why


def several_answers(file: Path) -> None:
    file.write_text(json.dumps({"num_return_sequences": 2}))


def a_deep_one(file: Path) -> None:
    file.write_text('{"a":' + "[" * 100_000 + "]" * 100_000 + "}")


@pytest.mark.parametrize("spoil", [several_answers, a_deep_one])
def test_generation_settings_that_transformers_refuses_are_named(spoil: Callable[[Path], None], model: Path) -> None:
    spoil(model / "generation_config.json")
    with pytest.raises(ModelError) as caught:
        load(model)
    assert "remove `generation_config.json`" in caught.value.fix


def test_code_from_elsewhere_is_refused(model: Path) -> None:
    file = model / "config.json"
    config = {**json.loads(file.read_text()), "model_type": "odd", "auto_map": {"AutoConfig": "odd.OddConfig"}}
    config["auto_map"]["AutoModelForCausalLM"] = "odd.OddModel"
    file.write_text(json.dumps(config))
    (model / "odd.py").write_text("raise SystemExit('it was run')\n")
    with pytest.raises(ModelError, match="comes with its own Python code") as caught:
        load(model)
    assert "--trust-remote-code" in caught.value.fix
