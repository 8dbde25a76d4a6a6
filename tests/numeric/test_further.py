"""Training further: a run that starts from another, its adapter continued or merged, and what it is compared with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from burnish.errors import InputError, Interrupted, ModelError, RecipeError
from burnish.inference.session import open_session
from burnish.recipe.load import recipe_from_saved
from burnish.recipe.schema import Recipe
from burnish.runs.description import read_manifest
from burnish.runs.folder import RunFolder, find_run
from burnish.workflows.evaluate import evaluate
from burnish.workflows.merge import merge
from burnish.workflows.reproduce import reproduce
from burnish.workflows.resume import resume
from burnish.workflows.train import train
from tests.numeric.test_resume import evaluation_text, logged, stopper
from tests.tiny_data import make_recipe, write_rows

STEPS = 4
_WEIGHTS = "adapter_model.safetensors"


def recipe_for(data: Path, model: Path | str, runs: Path, **options: Any) -> Recipe:
    """Four steps of LoRA."""
    settings: dict[str, Any] = {
        "method": "lora",
        "train__max_steps": STEPS,
        "batch__tokens": 128,
        "evaluate__every": 2,
        "evaluate__answers": 0,
        "evaluate__general": "none",
        "save__keep": 9,
        "data__context": 64,
        "lora__rank": 4,
    }
    return make_recipe(data, Path(model), runs, **{**settings, **options})


def write_pairs(path: Path, count: int = 30) -> Path:
    """Questions with a better and a worse answer."""
    rows = [{"prompt": f"What is {n}?", "chosen": f"It is {n}.", "rejected": "Who knows?"} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the runs of this file."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def rows(runs: Path) -> Path:
    """Of the first stage."""
    return write_rows(runs / "rows.jsonl")


@pytest.fixture(scope="module")
def first(rows: Path, runs: Path, tiny_model: Callable[[str], Path]) -> RunFolder:
    """The first stage: answers to questions, by LoRA."""
    return train(recipe_for(rows, tiny_model("llama"), runs, name="first", train__learning_rate=0.01)).folder


@pytest.fixture(scope="module")
def second(first: RunFolder, runs: Path) -> RunFolder:
    """The second stage: preferences, with the adapter of the first."""
    return train(recipe_for(write_pairs(runs / "pairs.jsonl"), first.path, runs, name="second")).folder


def test_an_adapter_of_the_same_form_goes_on(first: RunFolder, second: RunFolder) -> None:
    saved, chain = recipe_from_saved(second.recipe), read_manifest(second)["chain"]
    assert (saved.task, saved.start.how, saved.start.path) == ("preference", "continue", str(first.path))
    assert saved.model.name == recipe_from_saved(first.recipe).model.name
    assert [(link["name"], link["task"], link["how"]) for link in chain] == [("first", "chat", "continue")]
    before, after = (load_file(run.adapter / _WEIGHTS) for run in (first, second))
    assert before.keys() == after.keys()
    far = max(float((after[name] - before[name]).abs().max()) for name in before)
    assert 0 < far < 0.01  # four steps from there, not from zero


def test_the_reference_of_preferences_is_the_run_they_start_from(second: RunFolder) -> None:
    """At step 0 the policy is its own reference, so the loss of every pair is log 2."""
    at_start = next(json.loads(line) for line in second.metrics.read_text().splitlines() if '"Validated"' in line)
    assert at_start["step"] == 0
    assert at_start["loss"] == pytest.approx(0.693147, abs=1e-5)


def loss_of(run: RunFolder) -> dict[str, float]:
    """The loss of base and tuned model on the test rows."""
    figures = json.loads(run.evaluation.read_text())["figures"]
    found = next(one for one in figures if one["name"] == "loss")
    return {name: found[name]["value"] for name in ("base", "tuned")}


def test_it_is_compared_with_the_run_it_starts_from(
    first: RunFolder, second: RunFolder, rows: Path, runs: Path
) -> None:
    more = train(recipe_for(rows, first.path, runs, name="more")).folder
    assert recipe_from_saved(more.recipe).start.how == "continue"
    assert loss_of(more)["base"] == pytest.approx(loss_of(first)["tuned"], rel=1e-5)
    assert loss_of(more)["tuned"] < loss_of(more)["base"] < loss_of(first)["base"]
    found = evaluate(more, answers=0).to_dict()["figures"][0]
    assert found["base"]["value"] == pytest.approx(loss_of(first)["tuned"], rel=1e-5)
    asked = "What is 3?"
    assert open_session(str(second.path), base=True).generate(asked, 8) == open_session(str(first.path)).generate(
        asked, 8
    )


def test_a_stage_that_was_stopped_goes_on_bit_for_bit(first: RunFolder, second: RunFolder, runs: Path) -> None:
    recipe = recipe_for(runs / "pairs.jsonl", first.path, runs, name="again")
    with pytest.raises(Interrupted):
        train(recipe, listeners=[stopper(2)])
    again = resume(RunFolder(runs / "again")).folder
    assert (again.adapter / _WEIGHTS).read_bytes() == (second.adapter / _WEIGHTS).read_bytes()
    assert logged(again) == logged(second)
    assert evaluation_text(again) == evaluation_text(second)


def test_later_commands_work_on_it(second: RunFolder) -> None:
    assert reproduce(second, steps=3).passed
    assert merge(second).merged.mean < 1e-4
    before = json.loads(second.evaluation.read_text())["figures"][0]
    after = evaluate(second, answers=0).to_dict()["figures"][0]
    assert [after[name]["value"] for name in ("base", "tuned")] == pytest.approx(
        [before[name]["value"] for name in ("base", "tuned")], rel=1e-5
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"lora__rank": 2}, "`lora.rank` is 2, and 4 in the adapter"), ({"method": "full"}, "the method is `full`")],
    ids=["another rank", "another method"],
)
def test_what_does_not_fit_is_merged_first(
    options: dict[str, Any], reason: str, first: RunFolder, rows: Path, runs: Path
) -> None:
    said: list[Any] = []
    name = next(iter(options)).replace("__", "-")
    run = train(recipe_for(rows, first.path, runs, name=name, **options), listeners=[said.append]).folder
    saved = recipe_from_saved(run.recipe)
    assert saved.start.how == "merge"
    assert any(getattr(one, "option", "") == "start.how" and reason in one.reason for one in said)
    base = Path(saved.model.name)
    assert base.parent == runs / ".merged"
    assert loss_of(run)["base"] == pytest.approx(loss_of(first)["tuned"], rel=1e-5)
    assert read_manifest(run)["chain"][0]["how"] == "merge"


def test_the_adapter_of_another_tool_goes_on_and_loads_in_peft(
    rows: Path, runs: Path, tiny_model: Callable[[str], Path]
) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    base, place = tiny_model("llama"), runs / "foreign"
    torch.manual_seed(1)
    network = AutoModelForCausalLM.from_pretrained(base)
    settings = peft.LoraConfig(r=3, lora_alpha=5, target_modules=r".*\.(q|v)_proj", task_type="CAUSAL_LM")
    made = peft.get_peft_model(network, settings)
    for name, weight in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    made.save_pretrained(str(place))
    recipe = make_recipe(
        rows,
        place,
        runs,
        name="on",
        train__max_steps=2,
        evaluate__answers=0,
        evaluate__general="none",
        data__context=64,
    )
    run = train(recipe).folder
    saved = recipe_from_saved(run.recipe)
    assert (saved.lora.rank, saved.lora.alpha, saved.start.how) == (3, 5, "continue")
    before, after = load_file(place / _WEIGHTS), load_file(run.adapter / _WEIGHTS)
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    again = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(run.adapter))
    found = peft.get_peft_model_state_dict(again)
    assert all(torch.equal(found[name], after[name]) for name in after)


def test_a_checkpoint_is_used_like_a_run(first: RunFolder, rows: Path, runs: Path) -> None:
    kept = find_run(f"{first.path}@2", takes_step=True)
    asked = "What is 3?"
    assert open_session(f"{first.path}@4").generate(asked, 8) == open_session(str(first.path)).generate(asked, 8)
    found = evaluate(kept, answers=0).to_dict()
    logs = [json.loads(line) for line in first.metrics.read_text().splitlines()]
    assert json.loads(kept.evaluation.read_text())["figures"] == found["figures"]
    assert [one["step"] for one in logs if one["event"] == "Validated"] == [0, 2, 4]
    assert not (first.path / "results" / "step-000002" / "model").exists()
    run = train(recipe_for(rows, f"{first.path}@2", runs, name="from-2")).folder
    assert read_manifest(run)["chain"][0]["step"] == 2


def test_what_is_missing_or_changed_is_refused(first: RunFolder, rows: Path, runs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no checkpoint of step 3"):
        train(recipe_for(rows, f"{first.path}@3", runs))
    with pytest.raises(RecipeError, match="cannot go on training here"):
        train(recipe_for(rows, first.path, runs, lora__rank=2, start__how="continue"))
    with pytest.raises(RecipeError, match="starts from a base model"):
        train(recipe_for(rows, recipe_from_saved(first.recipe).model.name, runs, start__how="merge"))
    copy = first.path.rename(tmp_path / "first")
    second = RunFolder(runs / "second")
    try:
        with pytest.raises(InputError, match="is no longer at"):
            evaluate(second, answers=0)
    finally:
        copy.rename(first.path)
    weights = first.adapter / "generation_config.json"
    kept = (first.adapter / "tokenizer_config.json").read_bytes()
    assert weights.exists()
    (first.adapter / "tokenizer_config.json").write_bytes(kept + b"\n")
    try:
        with pytest.raises(ModelError, match="has changed since the run"):
            evaluate(second, answers=0)
    finally:
        (first.adapter / "tokenizer_config.json").write_bytes(kept)
