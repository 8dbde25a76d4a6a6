"""The alarm for adapters that do nothing: in training it is a warning, in use an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import burnish as burnish_api
from burnish.errors import ModelError
from burnish.runs.events import Warned
from tests.e2e.conftest import SHORT, Burnish
from tests.e2e.told import read_lines
from tests.tiny_classifiers import reviews, save_reader

USES = ("generate whole hello", "chat whole", "evaluate whole", "merge whole")


def change_tensors(run: Path, change: Callable[[str, Any], tuple[str, Any]]) -> None:
    """Writes the adapter anew with every name and tensor changed."""
    file = run / "adapter" / "adapter_model.safetensors"
    save_file(dict(change(name, tensor) for name, tensor in load_file(str(file)).items()), str(file), {"format": "pt"})


@pytest.mark.parametrize("words", USES)
def test_renamed_tensors(words: str, runs: Path, burnish: Burnish) -> None:
    change_tensors(runs / "whole", lambda name, tensor: (name.replace("self_attn", "attention"), tensor))
    told = burnish(words)
    assert (told.code, told.what) == (2, "the adapter in `runs/whole/adapter` was not applied")
    assert "Tensors without a place in the base model: " in told.why
    assert ", the first is `base_model.model.model.layers.0.attention." in told.why
    assert "Put back the base model" in told.hint


@pytest.mark.parametrize("words", USES)
def test_matrices_of_zeros(words: str, runs: Path, burnish: Burnish) -> None:
    change_tensors(runs / "whole", lambda name, tensor: (name, tensor * ("lora_B" not in name)))
    told = burnish(words)
    assert (told.code, told.what) == (2, "the adapter in `runs/whole/adapter` changes nothing")
    assert told.why.startswith("All its matrices B are zero")


@pytest.mark.parametrize("words", USES)
def test_numbers_too_small_to_change_any_output(words: str, runs: Path, burnish: Burnish) -> None:
    change_tensors(runs / "whole", lambda name, tensor: (name, tensor * (1e-20 if "lora_B" in name else 1)))
    told = burnish(words)
    assert (told.code, told.what) == (2, "the adapter in `runs/whole/adapter` changes nothing")
    assert told.why.startswith("The fine-tuned model gives the same outputs as its base model, bit for bit")


def test_another_base(runs: Path, tiny_model: Callable[[str], Path], burnish: Burnish) -> None:
    """Its modules have other names."""
    recipe = runs / "whole" / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(text.replace(str(tiny_model("llama")), str(tiny_model("gpt2"))), encoding="utf-8")
    told = burnish("generate whole hello")
    assert (told.code, told.what) == (2, "the adapter in `runs/whole/adapter` does not fit its base model")
    assert told.hint


def test_another_base_with_some_of_the_names(runs: Path, tiny_model: Callable[[str], Path], burnish: Burnish) -> None:
    """PEFT puts adapters where it finds a name, and says nothing of the others."""
    recipe = runs / "whole" / "recipe.yaml"
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(text.replace(str(tiny_model("llama")), str(tiny_model("phi3"))), encoding="utf-8")
    told = burnish("generate whole hello")
    assert (told.code, told.what) == (2, "the adapter in `runs/whole/adapter` was not applied")


@pytest.mark.parametrize("options", ["", "--set lora.init=pissa", "--set lora.init=olora", "--method ia3"])
def test_a_rate_that_moves_nothing(options: str, here: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    told = burnish(f"train {rows_file} --model {base} --name idle {SHORT} --set train.learning_rate=1e-30 {options}")
    assert told.code == 0, told.err
    assert "warning: The adapter changes nothing." in told.err
    warned = [line["text"] for line in read_lines(Path("runs/idle/events.jsonl"), "Warned")]
    assert any("Raise `train.learning_rate` (now 1e-30)" in text for text in warned)
    told = burnish("generate idle hello")
    assert (told.code, told.what) == (2, "the adapter in `runs/idle/adapter` changes nothing")


def test_a_run_that_learned_is_not_warned_of(runs: Path) -> None:
    warned = [line["text"] for line in read_lines(runs / "whole" / "events.jsonl", "Warned")]
    assert not any("changes nothing" in text for text in warned)


def test_a_classifier(here: Path) -> None:
    rows = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in reviews(40))
    Path("reviews.jsonl").write_text(rows, encoding="utf-8")
    told: list[Any] = []
    run = burnish_api.train(
        "reviews.jsonl",
        model=save_reader(here / "model", "bert"),
        name="idle",
        learning_rate=1e-30,
        max_steps=2,
        precision="fp32",
        device="cpu",
        listeners=[told.append],
    )
    assert any("changes nothing" in event.text for event in told if isinstance(event, Warned))
    with pytest.raises(ModelError, match="changes nothing"):
        run.generate("a good film")
