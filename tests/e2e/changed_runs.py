"""Run folders, and what they were made from, changed in one way each after training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import yaml

from tests.e2e.bad_files import Maker


def as_made(here: Path, base: Path) -> None:
    """Nothing is changed."""


def _repoint(here: Path, run: str, option: str, path: Path) -> Path:
    """Makes the recipe of a run name another path; returns the one it named."""
    file = here / "runs" / run / "recipe.yaml"
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    section, _, name = option.partition(".")
    old = Path(recipe[section][name])
    recipe[section][name] = str(path)
    file.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    return old


def data_changed(run: str) -> Maker:
    """One more row at the end of the data."""

    def change(here: Path, base: Path) -> None:
        old = _repoint(here, run, "data.path", here / "rows.jsonl")
        more = json.dumps({"prompt": "Who is there?", "completion": "A fox."}) + "\n"
        (here / "rows.jsonl").write_text(old.read_text(encoding="utf-8") + more, encoding="utf-8")

    return change


def data_gone(run: str) -> Maker:
    """The data was moved away."""

    def change(here: Path, base: Path) -> None:
        _repoint(here, run, "data.path", here / "rows.jsonl")

    return change


def base_changed(run: str) -> Maker:
    """Another model lies where the base model lay."""

    def change(here: Path, base: Path) -> None:
        from safetensors.torch import load_file, save_file

        old = _repoint(here, run, "model.name", here / "model")
        shutil.copytree(old, here / "model")
        weights = here / "model" / "model.safetensors"
        tensors = {name: tensor + 0.01 for name, tensor in load_file(str(weights)).items()}
        save_file(tensors, str(weights), {"format": "pt"})

    return change


def adapter_zeroed(here: Path, base: Path) -> None:
    """All matrices B of the adapter are zero, as before training."""
    from safetensors.torch import load_file, save_file

    file = here / "runs" / "whole" / "adapter" / "adapter_model.safetensors"
    tensors = {name: tensor * (0 if "lora_B" in name else 1) for name, tensor in load_file(str(file)).items()}
    assert any("lora_B" in name for name in tensors)
    save_file(tensors, str(file), {"format": "pt"})


def recipe_broken(here: Path, base: Path) -> None:
    """Somebody edited the saved recipe."""
    file = here / "runs" / "stopped" / "recipe.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("epochs:", "epoch:"), encoding="utf-8")
