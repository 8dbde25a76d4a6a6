"""Models without some of their tensors, and folders that are no model: the reason, and what to do."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from burnish.errors import ModelError
from burnish.models.base import Loading, load_base, load_tokenizer
from burnish.models.heads import CAUSAL
from burnish.models.location import locate_model
from burnish.recipe.schema import ModelSection


@pytest.fixture
def model(tiny_model: Callable[[str], Path], tmp_path: Path) -> Path:
    """A model folder that a test may damage."""
    return Path(shutil.copytree(tiny_model("qwen2"), tmp_path / "model"))


def load(model: Path) -> Any:
    """Loads the model."""
    section = ModelSection(name=str(model))
    location = locate_model(section)
    tokenizer = load_tokenizer(location, section)
    return load_base(location, section, tokenizer, torch.device("cpu"), Loading(torch.float32), CAUSAL)


def change(model: Path, rename: Callable[[str], str]) -> None:
    """Gives the tensors of a model other names."""
    file = model / "model.safetensors"
    save_file({rename(name): one for name, one in load_file(file).items()}, file, metadata={"format": "pt"})


def set_config(model: Path, **values: Any) -> None:
    """Changes values of the config."""
    file = model / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}), encoding="utf-8")


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod.", "base_model.model."])
def test_names_of_a_wrapper_are_taken_off_with_the_command(prefix: str, model: Path) -> None:
    """Also where the output layer is tied, which no file has."""
    change(model, lambda name: prefix + name)
    with pytest.raises(ModelError) as refused:
        load(model)
    assert f"begin with `{prefix}`" in refused.value.what
    command = refused.value.fix.removeprefix("Rename them: `").removesuffix("`")
    subprocess.run([sys.executable, *shlex.split(command)[1:]], check=True, timeout=120)
    load(model)


def test_what_is_missing_is_not_taken_for_a_prefix(model: Path) -> None:
    file = model / "model.safetensors"
    weights = load_file(file)
    del weights["model.layers.0.mlp.up_proj.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="are incomplete") as refused:
        load(model)
    assert "`model.layers.0.mlp.up_proj.weight`" in refused.value.why


def test_a_classifier_cannot_write_text(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny_model("llama"), tmp_path / "model"))
    set_config(model, architectures=["LlamaForSequenceClassification"])
    change(model, lambda name: name.replace("lm_head", "score"))
    with pytest.raises(ModelError, match="cannot write text: it is a `LlamaForSequenceClassification`"):
        load(model)


def located(folder: Path) -> str:
    """What to do about a folder or file that is no model."""
    with pytest.raises(ModelError) as refused:
        locate_model(ModelSection(name=str(folder)))
    return f"{refused.value.what} {refused.value.fix}"


def test_a_cache_of_the_hub_has_its_model_in_a_snapshot(model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "models--org--tiny"
    (cache / "refs").mkdir(parents=True)
    shutil.copytree(model, cache / "snapshots" / "abc")
    assert f"Try `{cache / 'snapshots' / 'abc'}`" in located(cache)


def test_a_trainer_has_its_models_in_checkpoints(model: Path, tmp_path: Path) -> None:
    for step in (5, 100, 20):
        shutil.copytree(model, tmp_path / "out" / f"checkpoint-{step}")
    assert located(tmp_path / "out").endswith(f"Try `{tmp_path / 'out' / 'checkpoint-100'}`, the latest of 3")


def test_an_adapter_in_a_checkpoint_counts(tmp_path: Path) -> None:
    (tmp_path / "out" / "checkpoint-7").mkdir(parents=True)
    (tmp_path / "out" / "checkpoint-7" / "adapter_config.json").write_text("{}", encoding="utf-8")
    assert f"Try `{tmp_path / 'out' / 'checkpoint-7'}`" in located(tmp_path / "out")


def test_gguf_files_cannot_be_trained(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.gguf").write_bytes(b"GGUF")
    assert "is a GGUF file Give the model that it was made from" in located(tmp_path / "out" / "model.gguf")
    assert "GGUF files are for llama.cpp" in located(tmp_path / "out")


def test_weights_that_mlx_packed_are_refused(model: Path) -> None:
    set_config(model, quantization={"group_size": 64, "bits": 4})
    locate_model(ModelSection(name=str(model)))  # the setting alone is none
    change(model, lambda name: name.replace("up_proj.weight", "up_proj.scales"))
    assert "is quantized by MLX" in located(model)
