"""A base model that was moved, replaced or mended after training, and a recipe that was edited."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import burnish as burnish_api
from tests.e2e.changed_runs import base_changed
from tests.e2e.conftest import Burnish

COMMANDS = {
    "evaluate": "evaluate whole --answers 0",
    "generate": 'generate whole "What is red?" --max-new-tokens 4',
    "generate with the base": 'generate whole "What is red?" --max-new-tokens 4 --base',
    "chat": "chat whole --max-new-tokens 4",
    "merge": "merge whole",
    "compare": "compare whole other --data other.jsonl",
    "reproduce": "reproduce whole --steps 1",
    "eject": "eject whole",
    "resume": "resume stopped",
}


@pytest.fixture
def moved(runs: Path, here: Path) -> Path:
    """Where the base model of all runs is now; their recipes name a folder that is gone."""
    shutil.copytree(runs / "whole", runs / "other")
    rows = [{"prompt": f"Who is {number}?", "completion": f"It is blue, {number}."} for number in range(32)]
    (here / "other.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for run in ("whole", "stopped", "other"):
        file = runs / run / "recipe.yaml"
        recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not (here / "elsewhere").exists():
            shutil.copytree(recipe["model"]["name"], here / "elsewhere")
        recipe["model"]["name"] = str(here / "gone")
        file.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    return here / "elsewhere"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_the_new_place(name: str, moved: Path, burnish: Burnish) -> None:
    refused = burnish(COMMANDS[name], stdin="Hello.\n")
    assert refused.code == 2
    assert "is no longer in `./gone`" in refused.err
    assert "--base-model" in refused.hint
    result = burnish(f"{COMMANDS[name]} --base-model elsewhere", stdin="Hello.\n")
    assert result.code == 0, result.err


@pytest.mark.parametrize("name", COMMANDS)
def test_another_model_is_not_taken_for_it(name: str, moved: Path, here: Path, burnish: Burnish) -> None:
    from safetensors.torch import load_file, save_file

    weights = moved / "model.safetensors"
    save_file({key: tensor + 0.01 for key, tensor in load_file(str(weights)).items()}, str(weights), {"format": "pt"})
    result = burnish(f"{COMMANDS[name]} --base-model elsewhere", stdin="Hello.\n")
    assert result.code == (1 if name == "reproduce" else 2), result.err
    assert "has changed" in result.err + result.out or "none of the runs" in result.err


def test_from_python(moved: Path, runs: Path) -> None:
    run = burnish_api.load_run(runs / "whole", base_model=moved)
    assert isinstance(run.generate("What is red?", max_new_tokens=4), str)
    burnish_api.resume(runs / "stopped", base_model=moved)


@pytest.mark.parametrize(
    "words",
    [*(COMMANDS[name] for name in ("generate", "generate with the base", "chat")), "serve whole --port 0"],
)
def test_a_changed_base_answers_nothing(words: str, runs: Path, here: Path, base: Path, burnish: Burnish) -> None:
    base_changed("whole")(here, base)
    result = burnish(words, stdin="Hello.\n")
    assert result.code == 2
    assert "has changed since the run `whole` started" in result.err


def test_a_whole_model_answers_without_its_base(here: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    model = shutil.copytree(base, here / "model")
    short = "--set train.max_steps=1 --set evaluate.answers=0 --method full --name full"
    assert burnish(f"train {rows_file} --model model {short}").code == 0
    shutil.rmtree(model)
    assert burnish('generate full "What is red?" --max-new-tokens 4').code == 0
    assert burnish('generate full "What is red?" --max-new-tokens 4 --base').code == 2


def test_generation_settings_of_the_base_may_be_mended(runs: Path, here: Path, base: Path, burnish: Burnish) -> None:
    file = runs / "stopped" / "recipe.yaml"
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    model = shutil.copytree(recipe["model"]["name"], here / "model")
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": 2}), encoding="utf-8")
    result = burnish("resume stopped --base-model model")
    assert result.code == 0, result.err


def edit(file: Path, section: str, name: str, value: Any) -> None:
    recipe = yaml.safe_load(file.read_text(encoding="utf-8"))
    recipe[section][name] = value
    file.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [("train", "learning_rate", 0.5), ("train", "epochs", 9.0), ("lora", "rank", 4), ("data", "context", 32)],
)
@pytest.mark.parametrize("words", ["resume stopped", "evaluate stopped", "merge stopped", "reproduce stopped"])
def test_an_edited_recipe_is_refused(
    section: str, name: str, value: Any, words: str, runs: Path, burnish: Burnish
) -> None:
    if words != "resume stopped":
        words = words.replace("stopped", "whole")
    edit(runs / words.split()[1] / "recipe.yaml", section, name, value)
    result = burnish(words)
    assert result.code == 2
    assert f"`{section}.{name}` was " in result.what
    assert f" and is {value}" in result.what


def test_options_of_the_evaluation_may_be_edited(runs: Path, burnish: Burnish) -> None:
    edit(runs / "stopped" / "recipe.yaml", "evaluate", "answers", 1)
    result = burnish("resume stopped")
    assert result.code == 0, result.err


@pytest.mark.parametrize("method", ["full", pytest.param("freeze", marks=pytest.mark.slow), "lora"])
def test_odd_generation_settings_of_the_base(
    method: str, here: Path, base: Path, rows_file: Path, burnish: Burnish
) -> None:
    """As of Vicuna and the first Llama 2: a temperature, and no sampling."""
    model = shutil.copytree(base, here / "model")
    (model / "generation_config.json").write_text(
        json.dumps({"temperature": 0.9, "top_p": 0.6, "eos_token_id": 2, "bos_token_id": 1}), encoding="utf-8"
    )
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps({**config, "repetition_penalty": 1.3}), encoding="utf-8")
    short = f"--set train.max_steps=2 --set evaluate.answers=0 --method {method} --name mine"
    result = burnish(f"train {rows_file} --model model {short}")
    assert result.code == 0, result.err
    assert "(`temperature`, `top_p`) are not used" in result.err
    folder = here / "runs/mine" / ("adapter" if method == "lora" else "model")
    saved = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    assert saved["do_sample"] is False
    assert saved.keys().isdisjoint({"temperature", "top_p", "repetition_penalty"})
    if method == "lora":
        assert burnish("merge mine").code == 0
