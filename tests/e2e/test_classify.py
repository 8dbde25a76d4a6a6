"""`burnish train` on labelled texts: the task is found, it trains, and its figures rise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import burnish as burnish_api
from burnish.errors import DataError
from burnish.runs.events import DataReady, Note, Warned
from tests.e2e.conftest import Burnish
from tests.tiny_classifiers import GOOD, reviews, save_reader

OPTIONS: dict[str, Any] = {"precision": "fp32", "device": "cpu", "learning_rate": 0.01, "name": "mine"}
SELDOM = {"evaluate.every": 40}


@pytest.fixture(scope="module", params=["bert", pytest.param("llama", marks=pytest.mark.slow)])
def reader(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_reader(tmp_path_factory.mktemp("models") / request.param, request.param)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_reader(tmp_path_factory.mktemp("models") / "bert", "bert")


def write_json_lines(path: str, rows: list[dict[str, Any]]) -> Path:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return Path(path)


def test_a_table_without_header_and_a_model_are_enough(here: Path, reader: Path, burnish: Burnish) -> None:
    Path("reviews.tsv").write_text("".join(f"{text}\t{label}\n" for text, label in reviews(300)), encoding="utf-8")
    events: list[Any] = []
    run = burnish_api.train("reviews.tsv", model=reader, epochs=5, set=SELDOM, listeners=[events.append], **OPTIONS)
    (ready,) = [event for event in events if isinstance(event, DataReady)]
    assert (ready.task, ready.shape, ready.trained_tokens) == ("classify", "labelled-text", 240)
    assert (ready.training_rows, ready.validation_rows, ready.test_rows) == (240, 30, 30)
    assert any("`reviews.tsv` has no header row" in event.text for event in events if isinstance(event, Note))
    assert run.evaluation is not None
    assert run.evaluation["headline"] == "accuracy"
    (accuracy,) = [figure for figure in run.evaluation["figures"] if figure["name"] == "accuracy"]
    assert accuracy["base"]["value"] < 0.6
    assert accuracy["tuned"]["value"] > 0.8
    assert run.evaluation["verdict"].startswith("The tuned model is better than the base on 30 test rows: accuracy")
    assert [table["title"] for table in run.evaluation["tables"]] == ["per class", "confusion matrix"]
    assert run.evaluation["note"].startswith("Always answering the most common label")
    assert run.evaluation["answers"][0]["expected"] in ("good", "bad")
    assert run.generate("7 the film was very lovely").startswith("good (")
    assert run.generate('{"text": "8 the song was awful"}').startswith("bad (")
    folder = run.path
    assert burnish(f'generate {folder} "9 the film was lovely"').out.startswith("good (")
    reported_by_evaluate = burnish(f"evaluate {folder}")
    assert reported_by_evaluate.code == 0, reported_by_evaluate.err
    assert run.evaluation["note"] in " ".join(reported_by_evaluate.out.split())


def test_rows_with_any_number_of_labels(here: Path, encoder: Path) -> None:
    rows = []
    for text, label in reviews(240):
        labels = (["praise"] if label == "good" else []) + (["stressed"] if "very" in text else [])
        rows.append({"text": text, "labels": labels})
    data, options = write_json_lines("reviews.jsonl", rows), {"epochs": 8, "method": "full", "set": SELDOM, **OPTIONS}
    run = burnish_api.train(data, model=encoder, **options)
    recipe = (run.path / "recipe.yaml").read_text(encoding="utf-8")
    assert "multi_label: true" in recipe
    assert run.evaluation is not None
    assert run.evaluation["headline"] == "micro-F1"
    (f1,) = [figure for figure in run.evaluation["figures"] if figure["name"] == "micro-F1"]
    assert f1["tuned"]["value"] > max(0.85, f1["base"]["value"])
    things = ("film", "book", "song", "meal", "trip")
    # Which of a few texts are labelled right depends on the machine's rounding; that most are does not.
    blank = [run.generate(f"7 the {thing} was dull") for thing in things]
    assert sum(answer.startswith("no label (nearest: ") for answer in blank) >= 3, blank
    both = [run.generate(f"7 the {thing} was very very good") for thing in things]
    assert sum("praise (" in answer and "stressed (" in answer for answer in both) >= 3, both


def test_pairs_of_texts(here: Path, encoder: Path) -> None:
    rows = [
        {"premise": text, "hypothesis": f"it was {word}", "label": (label == "good") == (word == "good")}
        for number, (text, label) in enumerate(reviews(40))
        for word in (["good", "bad"][number % 2],)
    ]
    run = burnish_api.train(write_json_lines("pairs.jsonl", rows), model=encoder, max_steps=2, **OPTIONS)
    assert run.evaluation is not None
    assert {line[0] for line in run.evaluation["tables"][0]["rows"]} == {"false", "true"}
    answer = run.generate(json.dumps({"premise": "the film was good", "hypothesis": "it was good"}))
    assert answer.split()[0] in ("false", "true")


def test_a_run_is_evaluated_on_rows_of_its_own_labels_only(here: Path, encoder: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in reviews(60)]
    run = burnish_api.train(write_json_lines("reviews.jsonl", rows), model=encoder, max_steps=2, **OPTIONS)
    other = [{"sentence": f"the play was {word}", "label": "good"} for word in GOOD]
    write_json_lines("other.jsonl", [*other, {"sentence": "it ended", "label": "odd"}])
    seen = run.evaluate("other.jsonl")
    assert seen.rows == 4
    (accuracy,) = [figure for figure in seen.figures if figure.name == "accuracy"]
    assert accuracy.tuned.value <= 0.75, "the label that it never learned counts as wrong"
    write_json_lines("strange.jsonl", [{"text": text, "label": "odd"} for text, _ in reviews(5, seed=1)])
    with pytest.raises(DataError, match="the rows have none of the labels"):
        run.evaluate("strange.jsonl")


def test_a_label_that_only_validation_rows_have_is_named(here: Path, encoder: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in reviews(40)]
    write_json_lines("train.jsonl", rows)
    write_json_lines("valid.jsonl", [{"text": "a new film", "label": "odd"}, {"text": "a good film", "label": "good"}])
    events: list[Any] = []
    run = burnish_api.train(
        "train.jsonl",
        model=encoder,
        validation="valid.jsonl",
        test="none",
        max_steps=1,
        listeners=[events.append],
        **OPTIONS,
    )
    assert not (run.path / "rejected.jsonl").exists()
    assert run.evaluation is not None
    figures = {figure["name"]: figure for figure in run.evaluation["figures"]}
    assert (figures["accuracy"]["rows"], figures["loss"]["rows"]) == (2, 1)
    assert figures["accuracy"]["tuned"]["value"] <= 0.5
    warned = [event.text for event in events if isinstance(event, Warned)]
    assert any("1 of 2 held-out rows have a label that is in no training row: `odd` (1)" in text for text in warned)


def test_labels_that_cannot_be_learned_leave_no_run_behind(here: Path, encoder: Path) -> None:
    write_json_lines("same.jsonl", [{"text": text, "label": "a"} for text, _ in reviews(20)])
    with pytest.raises(DataError, match="every training row has the same label: `a`"):
        burnish_api.train("same.jsonl", model=encoder, **OPTIONS)
    assert not Path("runs").exists()
