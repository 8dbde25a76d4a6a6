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
from burnish.models.base import BaseModel, Loading, fingerprint, load_base, load_tokenizer
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


def several_answers(file: Path) -> None:
    file.write_text(json.dumps({"num_return_sequences": 2}))


def test_generation_settings_that_transformers_refuses_are_named(model: Path) -> None:
    several_answers(model / "generation_config.json")
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


def test_a_fingerprint_is_the_same_for_the_same_files(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    (copy / "README.md").write_text("Words about the model are not the model.")
    assert fingerprint(copy) == fingerprint(model)
    assert len(fingerprint(model)) == 64


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
def test_a_fingerprint_changes_with_a_bit_of_any_file(file: str, model: Path) -> None:
    before = fingerprint(model)
    content = bytearray((model / file).read_bytes())
    content[-3] ^= 1
    (model / file).write_bytes(content)
    assert fingerprint(model) != before


def test_a_fingerprint_changes_with_a_name(model: Path) -> None:
    before = fingerprint(model)
    (model / "model.safetensors").rename(model / "other.safetensors")
    assert fingerprint(model) != before


@pytest.mark.parametrize("position", [0, 5, -1, -(1 << 25)])
def test_both_ends_of_a_large_file_are_read(position: int, tmp_path: Path) -> None:
    """Of a file over 64 MiB the first and the last 32 MiB; here it is sparse."""
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.truncate((1 << 26) + 4096)
    before = fingerprint(tmp_path)
    with path.open("r+b") as file:
        file.seek(position if position >= 0 else path.stat().st_size + position)
        file.write(b"\x01")
    assert fingerprint(tmp_path) != before


@pytest.mark.parametrize("position", [(1 << 25) - 1, 1 << 25, (1 << 26) - 1])
def test_a_file_of_64_mib_is_read_whole(position: int, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with path.open("wb") as file:
        file.truncate(1 << 26)
    before = fingerprint(tmp_path)
    with path.open("r+b") as file:
        file.seek(position)
        file.write(b"\x01")
    assert fingerprint(tmp_path) != before
