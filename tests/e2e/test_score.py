"""`burnish train` on texts with numbers: the task is found, it trains, and what is saved gives what was evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import burnish as burnish_api
from tests.e2e.conftest import Burnish
from tests.tiny_classifiers import reviews, save_reader

OPTIONS: dict[str, Any] = {"precision": "fp32", "device": "cpu", "learning_rate": 0.01, "name": "mine"}


def write_rows(path: str, count: int) -> Path:
    """Reviews with stars: 1 to 2.5 for bad ones, 3.5 to 5 for good ones, more with every `very`."""
    rows = []
    for text, label in reviews(count):
        extra = 0.5 * text.count("very")
        rows.append({"text": text, "score": 3.5 + extra if label == "good" else 2.5 - extra})
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Path(path)


@pytest.mark.parametrize(("kind", "method"), [("bert", "full"), pytest.param("llama", "lora", marks=pytest.mark.slow)])
def test_scores_are_learned_and_saved_as_they_were_evaluated(
    here: Path, tmp_path: Path, burnish: Burnish, kind: str, method: str
) -> None:
    model = save_reader(tmp_path / kind, kind)
    data = write_rows("scores.jsonl", 300)
    run = burnish_api.train(data, model=model, method=method, epochs=8, set={"evaluate.every": 40}, **OPTIONS)
    assert run.evaluation is not None
    assert run.evaluation["headline"] == "MAE"
    figures = {figure["name"]: figure["tuned"]["value"] for figure in run.evaluation["figures"]}
    assert figures["MAE"] < 0.8
    assert figures["Pearson r"] > 0.7
    assert figures["Spearman rho"] > 0.7
    recipe = (run.path / "recipe.yaml").read_text(encoding="utf-8")
    assert "task: score" in recipe
    assert "shape: scored-text" in recipe
    again = burnish(f"evaluate {run.path} --json")
    assert again.code == 0, again.err
    repeated = {figure["name"]: figure["tuned"]["value"] for figure in json.loads(again.out)["figures"]}
    assert repeated == pytest.approx(figures, rel=1e-4)
    for text in ("7 the film was very lovely", "9 the meal was awful"):
        assert float(run.generate(text)) == pytest.approx(plain_score(run.path, model, text), abs=2e-3)


def plain_score(path: Path, model: Path, text: str) -> float:
    """The score by transformers and peft alone."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    result = path / "model" if (path / "model").exists() else path / "adapter"
    tokenizer = AutoTokenizer.from_pretrained(str(result))
    network: Any
    if result.name == "model":
        network = AutoModelForSequenceClassification.from_pretrained(str(result))
    else:
        base = AutoModelForSequenceClassification.from_pretrained(
            str(model), num_labels=1, problem_type="regression", ignore_mismatched_sizes=True
        )
        network = PeftModel.from_pretrained(base, str(result))
    network.config.pad_token_id = tokenizer.pad_token_id
    with torch.no_grad():
        return network.eval()(**tokenizer(text, return_tensors="pt")).logits.item()


def test_whole_numbers_are_classes_unless_asked_otherwise(here: Path, tmp_path: Path, burnish: Burnish) -> None:
    model = save_reader(tmp_path / "bert", "bert")
    rows = [{"text": text, "label": 1 + number % 5} for number, (text, _) in enumerate(reviews(60))]
    Path("stars.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = f"--model {model} --set train.max_steps=1 --set model.precision=fp32"
    classes = burnish(f"train stars.jsonl --name classes {options}")
    assert classes.code == 0, classes.err
    assert "learned as 5 classes" in " ".join((classes.out + classes.err).split())
    scores = burnish(f"train stars.jsonl --task score --name scores {options}")
    assert scores.code == 0, scores.err
    assert "task: score" in Path("runs/scores/recipe.yaml").read_text(encoding="utf-8")
    other = burnish("evaluate runs/scores stars.jsonl")
    assert other.code == 0, other.err
