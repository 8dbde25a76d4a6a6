"""On SmolLM2: answers, then preferences, then merged; each stage stopped in the middle and resumed, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.errors import Interrupted
from burnish.prepare.extension import read_extension
from burnish.runs.description import read_manifest
from burnish.runs.event_log import read_events
from burnish.runs.folder import RunFolder
from burnish.workflows.extend import extend
from burnish.workflows.merge import merge
from burnish.workflows.resume import resume
from burnish.workflows.train import train
from tests.numeric.test_further import recipe_for, write_pairs
from tests.numeric.test_resume import evaluation_text, logged, stopper
from tests.tiny_data import write_rows

pytestmark = pytest.mark.slow

_WEIGHTS = "adapter_model.safetensors"


def in_two_ways(data: Path, model: Path | str, runs: Path, name: str, **options: Any) -> RunFolder:
    """A stage trained straight through, and the same stopped after two of four steps and resumed: they are equal."""
    straight = train(recipe_for(data, model, runs, name=name, lora__targets=["q_proj", "v_proj"], **options)).folder
    with pytest.raises(Interrupted):
        recipe = recipe_for(data, model, runs, name=f"{name}-stopped", lora__targets=["q_proj", "v_proj"], **options)
        train(recipe, listeners=[stopper(2)])
    stopped = resume(RunFolder(runs / f"{name}-stopped")).folder
    assert (stopped.adapter / _WEIGHTS).read_bytes() == (straight.adapter / _WEIGHTS).read_bytes()
    assert logged(stopped) == logged(straight)
    assert evaluation_text(stopped) == evaluation_text(straight)
    return straight


def test_answers_then_preferences_then_merged(real_model: Callable[[str], Path], tmp_path: Path) -> None:
    base = real_model("smollm2")
    sft = in_two_ways(write_rows(tmp_path / "rows.jsonl", 24), base, tmp_path, "sft")
    dpo = in_two_ways(write_pairs(tmp_path / "pairs.jsonl", 20), sft.path, tmp_path, "dpo")
    assert [link["name"] for link in read_manifest(dpo)["chain"]] == ["sft"]
    first = next(line for line in read_events(dpo.metrics) if line["event"] == "Validated")
    assert first["loss"] == pytest.approx(0.693147, abs=1e-5)  # its reference is what it starts from
    whole = merge(dpo)
    assert whole.tolerance.admits(whole.merged)
    merged_first = train(
        recipe_for(tmp_path / "rows.jsonl", dpo.path, tmp_path, name="final", lora__rank=2, train__max_steps=2)
    ).folder
    loss = next(one for one in json.loads(merged_first.evaluation.read_text())["figures"] if one["name"] == "loss")
    assert loss["base"]["value"] > 0
    assert [link["how"] for link in read_manifest(merged_first)["chain"]] == ["continue", "merge"]


def test_a_run_of_three_epochs_becomes_one_of_six(real_model: Callable[[str], Path], tmp_path: Path) -> None:
    rows, base = write_rows(tmp_path / "rows.jsonl", 16), real_model("smollm2")
    options: dict[str, Any] = {
        "train__max_steps": None,
        "train__schedule": "constant",
        "train__warmup": 0.0,
        "lora__targets": ["q_proj", "v_proj"],
        "train__early_stopping": False,
    }
    short = train(recipe_for(rows, base, tmp_path, name="short", train__epochs=3, **options)).folder
    longer = extend(read_extension(str(short.path), {}, ["train.epochs=6"])).folder
    straight = train(recipe_for(rows, base, tmp_path, name="straight", train__epochs=6, **options)).folder
    steps = [
        [
            (line["step"], line["loss"], line["learning_rate"])
            for line in read_events(run.metrics)
            if "norm" in str(line)
        ]
        for run in (longer, straight)
    ]
    assert steps[0] == steps[1]
    last = sorted(path.name for path in straight.checkpoints.iterdir())[-1]
    files = [run.checkpoints / last / "weights.safetensors" for run in (longer, straight)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_an_adapter_made_by_peft_alone_goes_on(real_model: Callable[[str], Path], tmp_path: Path) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    base = real_model("smollm2")
    torch.manual_seed(1)
    settings = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    made = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
    for name, weight in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.01)
    made.save_pretrained(str(tmp_path / "theirs"))
    data = write_rows(tmp_path / "rows.jsonl", 16)
    run = train(recipe_for(data, tmp_path / "theirs", tmp_path, name="on", train__max_steps=2)).folder
    again = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(run.adapter))
    before = json.loads((tmp_path / "theirs" / "adapter_config.json").read_text())
    after = json.loads((run.adapter / "adapter_config.json").read_text())
    assert [before[name] for name in ("r", "lora_alpha")] == [after[name] for name in ("r", "lora_alpha")]
    assert sorted(before["target_modules"]) == sorted(after["target_modules"])
    assert again.active_adapter == "default"
