"""Probabilities of `burnish predict` are those of transformers and PEFT alone, on 200 rows and a real encoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest
import torch

from burnish.inference.session import open_session
from burnish.workflows.predict import Choices, predict
from burnish.workflows.train import train
from tests.tiny_data import make_recipe

pytestmark = pytest.mark.slow

ROWS = 200


@pytest.mark.parametrize("method", ["full", "lora"])
def test_probabilities_are_those_of_transformers(
    method: str, real_model: Callable[[str], Path], tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    base = real_model("minilm")
    tickets = Path(str(resources.files("burnish"))) / "assets" / "samples" / "tickets.jsonl"
    rows = [json.loads(line) for line in tickets.read_text(encoding="utf-8").splitlines()]
    recipe = make_recipe(
        tickets,
        base,
        tmp_path,
        name="labels",
        task="classify",
        method=method,
        train__max_steps=20,
        batch__tokens=512,
        evaluate__answers=0,
        evaluate__every=20,
        data__context=128,
        data__validation_rows=20,
        data__test_rows=20,
    )
    run = train(recipe).folder
    rows = rows[:ROWS]
    data, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert predict(open_session(str(run.path)), str(data), out, Choices()).failed == 0
    found = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(found) == ROWS

    place = run.model if method == "full" else run.adapter
    tokenizer = AutoTokenizer.from_pretrained(place)
    if method == "full":
        network = AutoModelForSequenceClassification.from_pretrained(place)
        names = [network.config.id2label[number] for number in range(network.config.num_labels)]
    else:
        names = list(found[0]["probabilities"])
        plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(names))
        network = PeftModel.from_pretrained(plain, str(place))
    network.eval()
    worst, labels = 0.0, set[str]()
    for row, line in zip(rows, found, strict=True):
        with torch.no_grad():
            logits = network(**tokenizer(row["text"], truncation=True, max_length=128, return_tensors="pt")).logits[0]
        theirs = logits.float().softmax(0).tolist()
        ours = [line["probabilities"][name] for name in names]
        worst = max(worst, *(abs(one - other) for one, other in zip(ours, theirs, strict=True)))
        assert line["label"] == names[max(range(len(names)), key=theirs.__getitem__)]
        labels.add(line["label"])
    print(f"{method}: largest difference of {ROWS} x {len(names)} probabilities: {worst:.2e}")
    assert worst < 1e-5
    assert len(labels) > 1, "a model that says the same of every row shows little"
