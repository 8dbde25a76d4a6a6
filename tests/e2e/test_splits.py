"""Training, validation and test split through whole commands: test rows choose nothing, and the verdict is on them."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from burnish.runs.event_log import read_events
from tests.e2e.command_result import adapter_bytes, read_lines
from tests.e2e.conftest import EXACT, SHORT, Burnish
from tests.tiny_data import write_rows

CHOOSING = f"{EXACT} --set train.max_steps=6 --set train.epochs=9 --set batch.tokens=200 --set evaluate.every=2"
OFTEN = f"{CHOOSING} --set train.early_stopping=true --set train.patience=2 --set evaluate.general=none"


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def questions(first: int, last: int, words: int = 2) -> list[dict[str, Any]]:
    source = random.Random(first)
    answers = (" ".join(source.choice(["red", "blue", "green"]) for _ in range(words)) for _ in range(first, last))
    return [{"prompt": f"What is {n} like?", "completion": next(answers)} for n in range(first, last)]


def labelled(first: int, last: int, labels: str = "ab") -> list[dict[str, Any]]:
    return [
        {"text": f"The thing {n} is {'red' if n % 2 else 'blue'}.", "label": labels[n % 2]} for n in range(first, last)
    ]


POISONED = {
    "answers": (questions(0, 40), questions(100, 110), questions(300, 333, words=9)),
    "labels": (labelled(0, 40), labelled(100, 110), [*labelled(301, 330, "ba"), {"text": "x " * 200, "label": "new"}]),
}


def choices(run: Path) -> dict[str, Any]:
    """All that was chosen in a run, and the weights that came of it."""
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    events = read_events(run / "events.jsonl")
    return {
        "recipe": {**recipe, "name": ""},
        "reasons": [
            (line["option"], line["value"], line["reason"])
            for line in events
            if line["event"] == "Resolved" and line["option"] != "name"
        ],
        "kept": [line["best_step"] for line in events if line["event"] == "Finished"],
        "validations": [
            {name: value for name, value in line.items() if name not in ("time", "seconds")}
            for line in read_lines(run / "metrics.jsonl", "Validated")
        ],
        "weights": {
            file.relative_to(run).as_posix(): file.read_bytes()
            for file in sorted(run.rglob("*.safetensors"))
            if "optimizer" not in file.name
        },
    }


@pytest.mark.parametrize("kind", POISONED)
def test_the_test_rows_choose_nothing(kind: str, here: Path, base: Path, burnish: Burnish) -> None:
    train, test, poisoned = POISONED[kind]
    write(here / "data" / "train.jsonl", train)
    for name, rows in (("clean", test), ("poisoned", poisoned)):
        write(here / "data" / "test.jsonl", rows)
        result = burnish(f"train data --model {base} --method lora --name {name} {OFTEN} --set evaluate.answers=4")
        assert result.code == 0, result.err
    found = {name: choices(here / "runs" / name) for name in ("clean", "poisoned")}
    for one in found["clean"]:
        assert found["clean"][one] == found["poisoned"][one], one
    assert len(found["clean"]["weights"]) > 1
    evaluations = [json.loads((here / "runs" / name / "evaluation.json").read_text("utf-8")) for name in found]
    assert [(one["split"], one["rows"]) for one in evaluations] == [("test", len(test)), ("test", len(poisoned))]
    assert evaluations[0]["figures"] != evaluations[1]["figures"], "the poison has an effect where it should"


def test_the_verdict_is_on_test_rows(here: Path, base: Path, burnish: Burnish) -> None:
    write_rows(here / "rows.jsonl", 60)
    result = burnish(f"train rows.jsonl --model {base} --name mine {SHORT} --set evaluate.answers=12")
    assert result.code == 0, result.err
    assert re.search(r"rows +36 train, 12 validation, 12 test\n", result.err)
    few = "12 test rows can show only differences of about 42 points or more between shares of right answers."
    assert few in " ".join(result.err.split()) and few in " ".join(result.out.split())
    assert "On 12 test rows (held out from the training data):" in result.out
    evaluation = json.loads((here / "runs/mine/evaluation.json").read_text(encoding="utf-8"))
    assert (evaluation["split"], evaluation["rows"], evaluation["caveat"]) == ("test", 12, few)
    assert "on 12 test rows" in evaluation["verdict"]
    manifest = json.loads((here / "runs/mine/manifest.json").read_text(encoding="utf-8"))["data"]
    assert [manifest[name] for name in ("rows", "validation_rows", "test_rows")] == [36, 12, 12]
    for page in ("report.html", "adapter/README.md"):
        assert few in " ".join((here / "runs/mine" / page).read_text(encoding="utf-8").split())
    again = burnish("evaluate mine --json").json
    assert [again[name] for name in ("split", "rows", "caveat")] == ["test", 12, few]
    write_rows(here / "other.jsonl", 70, seed=5)
    other = burnish("evaluate mine other.jsonl --json").json
    assert (other["split"], other["rows"], other["caveat"]) == ("other", 70, "")
    assert re.search(r"on 70 rows[.:]", other["verdict"])


def test_without_a_test_split_it_is_said_everywhere(here: Path, base: Path, burnish: Burnish) -> None:
    write_rows(here / "rows.jsonl", 9)
    result = burnish(f"train rows.jsonl --model {base} --name mine {SHORT}")
    assert result.code == 0, result.err
    said = (
        "There is no test split (9 distinct rows are too few to hold any out for it): the validation rows also chose "
        "the checkpoint"
    )
    assert said in " ".join(result.err.split()) and said in " ".join(result.out.split())
    evaluation = json.loads((here / "runs/mine/evaluation.json").read_text(encoding="utf-8"))
    assert (evaluation["split"], evaluation["rows"]) == ("validation", 1)
    assert evaluation["caveat"].startswith(said) and evaluation["verdict_kind"] == "too_few_rows"
    assert evaluation["verdict"].startswith("1 validation row is too few to show a difference between base and tuned")
    for page in ("report.html", "adapter/README.md"):
        assert said in " ".join((here / "runs/mine" / page).read_text(encoding="utf-8").split())


def test_test_rows_that_are_all_too_long_are_said_and_choose_nothing(here: Path, base: Path, burnish: Burnish) -> None:
    write(here / "data" / "train.jsonl", questions(0, 40))
    write(here / "data" / "test.jsonl", questions(300, 303, words=90))
    result = burnish(f"train data --model {base} --name mine {SHORT}")
    assert result.code == 0, result.err
    assert "There is no test split (none of the 3 test rows can be used: " in " ".join(result.out.split())
    evaluation = json.loads((here / "runs/mine/evaluation.json").read_text(encoding="utf-8"))
    assert (evaluation["split"], evaluation["rows"]) == ("validation", 8)


@pytest.mark.slow
def test_runs_of_other_seeds_hold_out_the_same_rows(here: Path, base: Path, burnish: Burnish) -> None:
    write_rows(here / "rows.jsonl", 400)
    for seed in (0, 1):
        result = burnish(f"train rows.jsonl --model {base} --name s{seed} --set seed={seed} {SHORT}")
        assert result.code == 0, result.err
    compared = burnish("compare s0 s1 --json")
    assert compared.code == 0, compared.err
    assert (compared.json["rows"], compared.json["recipes"]) == (40, [["s0", "s1"]])
    assert [one["option"] for one in compared.json["options"]] == ["seed"]


NEW = ("test", "test_fraction", "test_rows", "split", "split_seed", "group")


def as_of_an_earlier_version(run: Path) -> None:
    """Takes out of a run folder what earlier versions did not write."""
    recipe = yaml.safe_load((run / "recipe.yaml").read_text(encoding="utf-8"))
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    for section in (recipe["data"], manifest["recipe"]["data"]):
        for name in NEW:
            del section[name]
    for name in ("test_rows", "held_out"):
        del manifest["data"][name]
    (run / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    events = [
        {name: value for name, value in line.items() if name != "test_rows"}
        for line in read_events(run / "events.jsonl")
    ]
    (run / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in events), encoding="utf-8")
    if (run / "evaluation.json").exists():
        evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
        del evaluation["split"], evaluation["caveat"]
        (run / "evaluation.json").write_text(json.dumps(evaluation), encoding="utf-8")


@pytest.mark.parametrize("has_test_file", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_of_an_earlier_version_still_opens(has_test_file: bool, here: Path, base: Path, burnish: Burnish) -> None:
    """It held rows out by `seed`, whatever their labels, and used no test file."""
    (here / "data").mkdir()
    write_rows(here / "data" / "train.jsonl", 40)
    if has_test_file:
        write_rows(here / "data" / "test.jsonl", 30, seed=8)
    before = "--set data.split=random --set data.test=none --set data.split_seed=3 --set seed=3"
    for name in ("old", "older"):
        result = burnish(f"train data --model {base} --method lora --name {name} {SHORT} {before}")
        assert result.code == 0, result.err
        as_of_an_earlier_version(here / "runs" / name)
    loss = json.loads((here / "runs/old/evaluation.json").read_text(encoding="utf-8"))["figures"][0]
    for words in ("show old", "report old", "evaluate old", "reproduce old", "merge old", "runs"):
        result = burnish(words)
        assert result.code == 0, (words, result.err)
    evaluation = json.loads((here / "runs/old/evaluation.json").read_text(encoding="utf-8"))
    assert (evaluation["split"], evaluation["rows"]) == ("validation", 4)
    assert evaluation["figures"][0]["tuned"]["value"] == pytest.approx(loss["tuned"]["value"], rel=1e-6)
    refused = burnish("compare old older")
    assert refused.what == "these 2 runs have 4 rows in common that none of them was trained on"
    weights = adapter_bytes(here / "runs" / "older")
    run = here / "runs" / "older"
    for left in ("adapter", "evaluation.json"):
        target = run / left
        target.unlink() if target.is_file() else [file.unlink() for file in target.iterdir()] and target.rmdir()
    kept = [line for line in read_events(run / "events.jsonl") if line["event"] != "Finished"]
    (run / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    resumed = burnish("resume older")
    assert resumed.code == 0, resumed.err
    assert adapter_bytes(run) == weights
