"""Early stopping: a run that only learns by heart is ended, and the result is its best checkpoint, not the last."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.e2e.command_result import read_lines
from tests.e2e.conftest import EXACT, Burnish

HARD = (
    f"{EXACT} --set train.learning_rate=0.02 --set train.schedule=constant --set train.epochs=300 "
    "--set evaluate.every=5 --set evaluate.answers=0 --set save.keep=1 --set data.test=none "
    "--set data.validation_fraction=0.1 --set data.split=random"
)


@pytest.fixture
def unlearnable(here: Path) -> Path:
    """Answers that can only be memorized: learning some of them helps with no other."""
    source = random.Random(0)
    rows = [{"prompt": f"{number}?", "completion": str(source.randrange(100))} for number in range(40)]
    file = here / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_the_best_checkpoint_is_the_result(
    method: str, unlearnable: Path, here: Path, base: Path, burnish: Burnish
) -> None:
    outcome = burnish(f"train {unlearnable} --model {base} --method {method} --name mine {HARD} --set train.patience=3")
    assert outcome.code == 0, outcome.err
    run = here / "runs" / "mine"
    validations = read_lines(run / "metrics.jsonl", "Validated")
    best = min(validations[1:], key=lambda line: line["loss"])
    last = validations[-1]
    assert [line["step"] for line in validations[-4:]] == [best["step"] + more for more in (0, 5, 10, 15)]
    assert last["loss"] > best["loss"]
    (stopped,) = read_lines(run / "events.jsonl", "StoppedEarly")
    assert stopped["step"] == last["step"]
    step = best["step"]
    reason = f"the validation loss has been worse than at step {step} for 3 validations; step {step} is kept"
    assert stopped["reason"] == reason
    assert f"stopped at step {last['step']}: {reason}" in outcome.err

    file = {"lora": "adapter/adapter_model.safetensors", "full": "model/model.safetensors"}[method]
    result = load_file(run / file)
    at_best, at_last = (
        {
            name.replace(".default.", "."): tensor
            for name, tensor in load_file(run / f"checkpoints/step-{step:06d}/weights.safetensors").items()
        }
        for step in (best["step"], last["step"])
    )
    assert result.keys() == at_best.keys()
    assert all(result[name].numpy().tobytes() == at_best[name].numpy().tobytes() for name in result)
    assert any(result[name].numpy().tobytes() != at_last[name].numpy().tobytes() for name in result)

    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    assert evaluation["figures"][0]["tuned"]["value"] == pytest.approx(best["loss"], rel=1e-5)
    assert burnish("show mine --json").json["best_step"] == best["step"]


@pytest.mark.slow
def test_early_stopping_can_be_turned_off(unlearnable: Path, here: Path, base: Path, burnish: Burnish) -> None:
    off = "--set train.early_stopping=false --set train.max_steps=60 --set train.patience=1"
    result = burnish(f"train {unlearnable} --model {base} --name mine {HARD} {off}")
    assert result.code == 0, result.err
    run = here / "runs" / "mine"
    assert read_lines(run / "metrics.jsonl", "StepDone")[-1]["step"] == 60
    assert read_lines(run / "events.jsonl", "StoppedEarly") == []
    validations = read_lines(run / "metrics.jsonl", "Validated")
    assert sum(line["is_best"] for line in validations) < len(validations) - 1, "patience was never tried"


@pytest.mark.slow
def test_of_checkpoints_that_label_alike_the_latest_is_the_result(here: Path, burnish: Burnish) -> None:
    """With thirty validation rows there are intervals. What was better before, but not beyond them, is not kept."""
    source = random.Random(1)
    for name, count in (("train", 120), ("valid", 30)):
        rows = [{"text": f"{name} {n}", "label": source.choice("ab")} for n in range(count)]
        (here / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = burnish(
        "train train.jsonl --model acorn --name mine --set data.validation=valid.jsonl --set train.epochs=9 "
        "--set train.learning_rate=0.003 --set evaluate.every=8 --set train.early_stopping=false --set save.keep=1"
    )
    assert result.code == 0, result.err
    run = here / "runs" / "mine"
    validations = read_lines(run / "metrics.jsonl", "Validated")[1:]
    highest = max(validations, key=lambda line: line["figures"]["accuracy"])
    best = [line for line in validations if line["is_best"]][-1]
    assert best["step"] > highest["step"], "luck had no chance"
    assert highest["figures"]["accuracy"] > best["figures"]["accuracy"]
    described = burnish("show mine --json").json
    assert described["best_step"] == best["step"]
    assert f"step-{best['step']:06d}" in {path.name for path in (run / "checkpoints").iterdir()}
    assert "not shown to be worse" in result.out
