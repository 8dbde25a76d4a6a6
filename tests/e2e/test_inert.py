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
from burnish.models.fingerprint import identity
from burnish.runs.events import Warned
from tests.e2e.command_result import read_lines
from tests.e2e.conftest import SHORT, Burnish
from tests.tiny_classifiers import reviews, save_reader

USES = ("generate whole hello", "chat whole", "evaluate whole", "merge whole")


def change_tensors(run: Path, change: Callable[[str, Any], tuple[str, Any]]) -> None:
    """Writes the adapter again with every name and tensor changed."""
    file = run / "adapter" / "adapter_model.safetensors"
    save_file(dict(change(name, tensor) for name, tensor in load_file(str(file)).items()), str(file), {"format": "pt"})


@pytest.mark.parametrize("words", USES)
def test_renamed_tensors(words: str, runs: Path, burnish: Burnish) -> None:
    change_tensors(runs / "whole", lambda name, tensor: (name.replace("self_attn", "attention"), tensor))
    result = burnish(words)
    assert (result.code, result.what) == (2, "the adapter in `runs/whole/adapter` was not applied")
    assert "Tensors without a place in the base model: " in result.why
    assert ", the first is `base_model.model.model.layers.0.attention." in result.why
    assert "Put back the base model" in result.hint


@pytest.mark.parametrize("words", USES)
def test_matrices_of_zeros(words: str, runs: Path, burnish: Burnish) -> None:
    change_tensors(runs / "whole", lambda name, tensor: (name, tensor * ("lora_B" not in name)))
    result = burnish(words)
    assert (result.code, result.what) == (2, "the adapter in `runs/whole/adapter` changes nothing")
    assert result.why.startswith("All its matrices B are zero")


@pytest.mark.parametrize("words", USES)
def test_numbers_too_small_to_change_any_output(words: str, runs: Path, burnish: Burnish) -> None:
    change_tensors(runs / "whole", lambda name, tensor: (name, tensor * (1e-20 if "lora_B" in name else 1)))
    result = burnish(words)
    assert (result.code, result.what) == (2, "the adapter in `runs/whole/adapter` changes nothing")
    assert result.why.startswith("The fine-tuned model gives the same outputs as its base model, bit for bit")


def change_base(run: Path, model: Path) -> None:
    """Gives a run another base model, and a manifest that says it was trained on it."""
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    recipe = (run / "recipe.yaml").read_text(encoding="utf-8")
    (run / "recipe.yaml").write_text(recipe.replace(manifest["model"]["name"], str(model)), encoding="utf-8")
    manifest["model"] = {"name": str(model), **identity(model)}
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def test_another_base(runs: Path, tiny_model: Callable[[str], Path], burnish: Burnish) -> None:
    """Its modules have other names."""
    change_base(runs / "whole", tiny_model("gpt2"))
    result = burnish("generate whole hello")
    assert (result.code, result.what) == (2, "the adapter in `runs/whole/adapter` does not fit its base model")
    assert result.hint


def test_another_base_with_some_of_the_names(runs: Path, tiny_model: Callable[[str], Path], burnish: Burnish) -> None:
    """PEFT puts adapters where it finds a name, and says nothing of the others."""
    change_base(runs / "whole", tiny_model("phi3"))
    result = burnish("generate whole hello")
    assert (result.code, result.what) == (2, "the adapter in `runs/whole/adapter` was not applied")


@pytest.mark.parametrize(
    "options",
    [
        "",
        *(
            pytest.param(one, marks=pytest.mark.slow)
            for one in ("--set lora.init=pissa", "--set lora.init=olora", "--method ia3")
        ),
    ],
)
def test_a_rate_that_moves_nothing(options: str, here: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    result = burnish(f"train {rows_file} --model {base} --name idle {SHORT} --set train.learning_rate=1e-30 {options}")
    assert result.code == 0, result.err
    assert "warning: The adapter changes nothing." in result.err
    warned = [line["text"] for line in read_lines(Path("runs/idle/events.jsonl"), "Warned")]
    assert any("Raise `train.learning_rate` (now 1e-30)" in text for text in warned)
    result = burnish("generate idle hello")
    assert (result.code, result.what) == (2, "the adapter in `runs/idle/adapter` changes nothing")


def test_a_run_that_learned_is_not_warned_of(runs: Path) -> None:
    warned = [line["text"] for line in read_lines(runs / "whole" / "events.jsonl", "Warned")]
    assert not any("changes nothing" in text for text in warned)


def test_a_classifier(here: Path) -> None:
    rows = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in reviews(40))
    Path("reviews.jsonl").write_text(rows, encoding="utf-8")
    events: list[Any] = []
    run = burnish_api.train(
        "reviews.jsonl",
        model=save_reader(here / "model", "bert"),
        name="idle",
        method="lora",
        learning_rate=1e-30,
        head_learning_rate=1e-30,
        max_steps=2,
        precision="fp32",
        device="cpu",
        listeners=[events.append],
    )
    assert any("changes nothing" in event.text for event in events if isinstance(event, Warned))
    with pytest.raises(ModelError, match="changes nothing"):
        run.generate("a good film")
