"""Going on from each kind of result: quantized bases, IA3, whole models; stopped on the way, with the same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import Interrupted, RecipeError
from burnish.inference.session import open_session
from burnish.recipe.load import recipe_from_saved
from burnish.runs.description import read_manifest
from burnish.runs.event_log import read_events
from burnish.runs.folder import RunFolder
from burnish.workflows.evaluate import evaluate
from burnish.workflows.resume import resume
from burnish.workflows.train import train
from tests.numeric.test_further import loss_of, recipe_for, write_pairs
from tests.numeric.test_quantized import save_base
from tests.numeric.test_resume import evaluation_text, logged, stopper
from tests.tiny_data import write_rows

pytestmark = pytest.mark.slow

HOW = {"qlora": "continue", "int8-lora": "continue", "ia3": "continue", "full": "merge"}
"""What becomes of the result of each method."""


def weights_of(run: RunFolder) -> bytes:
    """The file of the result."""
    files = [run.adapter / "adapter_model.safetensors", run.model / "model.safetensors"]
    return next(file.read_bytes() for file in files if file.exists())


@pytest.mark.parametrize("method", HOW)
def test_answers_then_preferences_then_more_answers(method: str, tmp_path: Path) -> None:
    rows, pairs = write_rows(tmp_path / "rows.jsonl"), write_pairs(tmp_path / "pairs.jsonl")
    options: dict[str, Any] = {"method": method, "train__learning_rate": 0.005}
    if method == "full":
        options |= {"train__learning_rate": 0.001}
    first = train(recipe_for(rows, save_base(tmp_path / "base"), tmp_path, name="first", **options)).folder
    assert loss_of(first)["tuned"] < loss_of(first)["base"]

    second = train(recipe_for(pairs, first.path, tmp_path, name="second", **options)).folder
    with pytest.raises(Interrupted):
        train(recipe_for(pairs, first.path, tmp_path, name="again", **options), listeners=[stopper(2)])
    again = resume(RunFolder(tmp_path / "again")).folder
    assert weights_of(again) == weights_of(second)
    assert logged(again) == logged(second)
    assert evaluation_text(again) == evaluation_text(second)
    assert recipe_from_saved(second.recipe).start.how == HOW[method]
    at_start = next(line for line in read_events(second.metrics) if line["event"] == "Validated")
    assert at_start["loss"] == pytest.approx(0.693147, abs=1e-4)  # what it starts from is its reference

    third = train(recipe_for(rows, second.path, tmp_path, name="third", **options)).folder
    assert [link["name"] for link in read_manifest(third)["chain"]] == ["first", "second"]
    assert loss_of(third)["tuned"] < loss_of(third)["base"] < loss_of(first)["base"]
    before = json.loads(third.evaluation.read_text())["figures"][0]
    after = evaluate(third, answers=0).to_dict()["figures"][0]
    assert after["base"]["value"] == pytest.approx(before["base"]["value"], rel=1e-5)
    assert isinstance(open_session(str(third.path)).generate("What is 3?", 8), str)


def test_an_adapter_of_a_quantized_base_is_not_merged_into_another(tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "rows.jsonl")
    first = train(recipe_for(rows, save_base(tmp_path / "base"), tmp_path, name="first", method="qlora")).folder
    with pytest.raises(RecipeError, match="trained on a quantized base"):
        train(recipe_for(rows, first.path, tmp_path, name="other", method="lora"))
    merged = train(recipe_for(rows, first.path, tmp_path, name="m", method="lora", start__how="merge")).folder
    assert recipe_from_saved(merged.recipe).start.how == "merge"


def test_an_adapter_of_another_tool_takes_preferences_and_loads_again(
    tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    base = tiny_model("llama")
    settings = peft.LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings).save_pretrained(str(tmp_path / "theirs"))
    pairs = write_pairs(tmp_path / "pairs.jsonl")
    recipe = recipe_for(pairs, tmp_path / "theirs", tmp_path, name="dpo")
    recipe = recipe.with_options(lora={"rank": "auto"})
    second = train(recipe).folder
    third = train(
        recipe_for(write_rows(tmp_path / "rows.jsonl"), second.path, tmp_path, name="on", lora__rank=2)
    ).folder
    assert recipe_from_saved(third.recipe).start.how == "continue"
    again = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(third.adapter))
    assert again.peft_config["default"].r == 2
