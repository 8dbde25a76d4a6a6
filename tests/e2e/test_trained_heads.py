"""A base that is already a classifier: its outputs are matched by name, or it gets a new head."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import burnish
from burnish.inference.session import open_session
from burnish.runs.events import Note
from tests.tiny_classifiers import reviews, save_reader

SETS = {"evaluate.answers": 0, "evaluate.general": "none", "save.keep": 1}
OPTIONS: dict[str, Any] = {"precision": "fp32", "device": "cpu"}


def write(path: Path, names: dict[str, str], count: int = 120) -> Path:
    rows = [json.dumps({"text": text, "label": names[label]}) + "\n" for text, label in reviews(count)]
    path.write_text("".join(rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT that labels reviews: output 0 is `bad`, output 1 `good`."""
    folder = tmp_path_factory.mktemp("trained")
    rows = write(folder / "rows.jsonl", {"good": "good", "bad": "bad"}, 300)
    run = burnish.train(
        rows, model=save_reader(folder / "bert", "bert"), method="full", runs=folder, epochs=6, learning_rate=0.01,
        set={**SETS, "evaluate.every": 40}, **OPTIONS,
    )  # fmt: skip
    accuracy = next(one for one in run.evaluation["figures"] if one["name"] == "accuracy")  # type: ignore[index]
    assert accuracy["tuned"]["value"] > 0.9
    assert run.folder.result is not None
    return run.folder.result


def again(classifier: Path, folder: Path, names: dict[str, str], **options: Any) -> tuple[Any, list[str], float]:
    """One step with a rate of almost nothing: the run, its notes, and the base model's accuracy."""
    notes: list[Any] = []
    options = {"method": "lora", **OPTIONS, **options}
    sets = {**SETS, **options.pop("sets", {})}
    run = burnish.train(
        write(folder / "rows.jsonl", names), model=classifier, runs=folder / "runs", max_steps=1, learning_rate=1e-3,
        set=sets, listeners=[notes.append], **options,
    )  # fmt: skip
    accuracy = next(one for one in run.evaluation["figures"] if one["name"] == "accuracy")  # type: ignore[index]
    return run, [note.text for note in notes if isinstance(note, Note)], accuracy["base"]["value"]


@pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_labels_in_another_order_are_matched_by_name(method: str, classifier: Path, tmp_path: Path) -> None:
    sets = {"data.labels": ["good", "bad"]}
    run, notes, base = again(classifier, tmp_path, {"good": "good", "bad": "bad"}, method=method, sets=sets)
    assert base > 0.9
    assert any("taken by name" in note for note in notes)
    for session in (open_session(str(run.path)), open_session(str(run.path), base=True)):
        right = [session.generate(text).startswith(label) for text, label in reviews(20)]
        assert sum(right) >= 16


def test_names_in_another_case_are_the_same(classifier: Path, tmp_path: Path) -> None:
    assert again(classifier, tmp_path, {"good": "GOOD", "bad": "Bad"})[2] > 0.9


def test_numbers_are_transformers_own_names(classifier: Path, tmp_path: Path) -> None:
    network = transformers.AutoModelForSequenceClassification.from_pretrained(str(classifier))
    network.config.id2label = {0: "LABEL_0", 1: "LABEL_1"}
    network.config.label2id = {"LABEL_0": 0, "LABEL_1": 1}
    network.save_pretrained(str(tmp_path / "model"))
    transformers.AutoTokenizer.from_pretrained(str(classifier)).save_pretrained(str(tmp_path / "model"))
    assert again(tmp_path / "model", tmp_path, {"good": "1", "bad": "0"}, sets={"data.labels": ["1", "0"]})[2] > 0.9
    _, notes, _ = again(tmp_path / "model", tmp_path, {"good": "no", "bad": "yes"})
    assert any("gets a new one" in note for note in notes)


def test_other_labels_get_a_new_head_that_is_trained(classifier: Path, tmp_path: Path) -> None:
    run, notes, _ = again(classifier, tmp_path, {"good": "apple", "bad": "pear"})
    assert any("knows other labels (`bad`, `good`)" in note for note in notes)
    assert any("no weights for `classifier`" in note for note in notes)
    network = open_session(str(run.path)).network
    assert any("modules_to_save" in name and "classifier" in name for name, _ in network.named_parameters())


def test_the_same_labels_stay_as_they_are(classifier: Path, tmp_path: Path) -> None:
    _, notes, base = again(classifier, tmp_path, {"good": "good", "bad": "bad"})
    assert base > 0.9
    assert not any("head" in note for note in notes)


def test_one_of_several_labels_is_left_out(classifier: Path, tmp_path: Path) -> None:
    """The outputs of those that remain are kept."""
    network = transformers.AutoModelForSequenceClassification.from_pretrained(str(classifier))
    layer = network.classifier
    with torch.no_grad():
        weight, bias = layer.weight, layer.bias
        network.classifier = torch.nn.Linear(layer.in_features, 3)
        network.classifier.weight.copy_(torch.stack([weight[1], -weight[0] * 0, weight[0]]))
        network.classifier.bias.copy_(torch.stack([bias[1], bias[0] * 0, bias[0]]))
    network.config.id2label = {0: "good", 1: "middling", 2: "bad"}
    network.config.label2id = {"good": 0, "middling": 1, "bad": 2}
    network.num_labels = 3
    network.save_pretrained(str(tmp_path / "model"))
    transformers.AutoTokenizer.from_pretrained(str(classifier)).save_pretrained(str(tmp_path / "model"))
    assert again(tmp_path / "model", tmp_path, {"good": "good", "bad": "bad"})[2] > 0.9
