"""What a run has lost on other texts, and what it has only learned by heart: reported after training, and later."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import burnish as burnish_api
from burnish.runs.events import Warned
from tests.e2e.command_result import read_lines
from tests.e2e.conftest import EXACT, SHORT, Burnish
from tests.tiny_classifiers import reviews, save_reader

STAND_INS = Path(__file__).parents[1] / "stand_ins"
ONE_SENTENCE = [{"text": "The kettle is on the shelf beside the blue cups."}] * 30


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def evaluation_of(name: str) -> dict[str, Any]:
    return json.loads(Path(f"runs/{name}/evaluation.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_run_that_ruins_its_base_is_reported_and_a_mild_one_is_not(here: Path, burnish: Burnish) -> None:
    """The bundled base learns one sentence by heart: at a high rate nothing else is left of it, at a low one all is."""
    rows = write(here / "rows.jsonl", ONE_SENTENCE)
    options = "--set batch.tokens=256 --set train.epochs=30 --set evaluate.general_tokens=2000"
    common = f"train {rows} --model seedling --method full {EXACT} {options}"
    ruined = burnish(f"{common} --name ruined --set train.learning_rate=0.02 --set train.max_steps=30")
    assert ruined.code == 0, ruined.err
    result = evaluation_of("ruined")
    rise, base = result["general"]["loss"]["difference"], result["general"]["loss"]["base"]["value"]
    assert rise["low"] > 0.05 * base
    assert result["figures"] == []
    assert result["verdict"] == f"There are no test or validation rows to evaluate on. {result['forgotten']}"
    assert result["forgotten"].startswith("It has forgotten much of what the base model knew")
    assert "other texts: loss" in ruined.out
    assert result["forgotten"] in " ".join(ruined.out.split())
    texts = [line["text"] for line in read_lines(here / "runs/ruined/events.jsonl", "Warned")]
    (warned,) = [text for text in texts if "forgotten" in text]
    assert "lower `train.learning_rate` (now 0.02)" in warned
    assert "`--method lora`" in warned
    assert "warning: It has forgotten much" in ruined.err

    mild = burnish(f"{common} --name mild --set train.learning_rate=1e-6 --set train.max_steps=4")
    assert mild.code == 0, mild.err
    result = evaluation_of("mild")
    assert result["forgotten"] == ""
    assert abs(result["general"]["loss"]["difference"]["value"]) < 0.05 * base
    assert result["general"]["loss"]["base"]["value"] == pytest.approx(base, rel=1e-5)
    assert "forgotten" not in mild.err + mild.out


def test_copies_of_one_held_out_row_prove_nothing(here: Path, base: Path, burnish: Burnish) -> None:
    write(here / "rows.jsonl", [{"prompt": f"{number}?", "completion": "yes"} for number in range(20)])
    write(here / "valid.jsonl", [{"prompt": "what now?", "completion": "yes"}] * 12)
    result = burnish(
        f"train rows.jsonl --model {base} --method full --name mine {EXACT} --set data.validation=valid.jsonl "
        "--set data.test=none --set train.learning_rate=0.01 --set train.epochs=10 --set evaluate.every=1000"
    )
    assert result.code == 0, result.err
    evaluation = evaluation_of("mine")
    assert {(one["name"], one["rows"]) for one in evaluation["figures"]} >= {("loss", 12), ("exact match", 12)}
    for one in evaluation["figures"]:
        bounds = one["difference"]["low"], one["difference"]["high"]
        assert bounds in ((None, None), (-1, 1)), one["name"]
    expected = "12 validation rows (1 distinct) are too few to show a difference between base and tuned model"
    assert evaluation["verdict"].startswith(expected)


@pytest.mark.slow
def test_what_is_learned_by_heart_shows(here: Path, base: Path, burnish: Burnish) -> None:
    """Answers that can only be memorized: on the rows that it has seen, the model knows them all."""
    source = random.Random(0)
    rows = [{"prompt": f"{number}?", "completion": str(source.randrange(1000))} for number in range(40)]
    write(here / "rows.jsonl", rows[:20])
    write(here / "valid.jsonl", rows[20:])
    result = burnish(
        f"train rows.jsonl --model {base} --method full --name mine {EXACT} --set data.validation=valid.jsonl "
        "--set train.learning_rate=0.01 --set train.schedule=constant --set train.epochs=100 --set evaluate.every=1000 "
        "--set evaluate.answers=0 --set data.test=none"
    )
    assert result.code == 0, result.err
    evaluation = evaluation_of("mine")
    (training,), held_out = evaluation["training"], evaluation["figures"][0]
    assert (training["name"], training["rows"]) == ("loss", 20)
    assert training["tuned"]["value"] < 0.2 * held_out["tuned"]["value"]
    assert evaluation["gap"]["high"] < 0
    assert evaluation["by_heart"].startswith("Part of the gain is memorization: the loss fell")
    assert "training rows: loss" in result.out
    assert evaluation["by_heart"] in " ".join(result.out.split())
    again = burnish("evaluate mine --answers 0 --json").json
    values = [(one["training"][0]["tuned"], one["gap"], one["general"]["loss"]["tuned"]) for one in (again, evaluation)]
    for first, second in zip(*values, strict=True):
        assert first == pytest.approx(second, rel=1e-4)


def test_a_run_that_learned_what_rows_have_in_common_is_not_said_to_know_them_by_heart(runs: Path) -> None:
    result = evaluation_of("whole")
    assert (result["by_heart"], result["forgotten"]) == ("", "")
    assert [(one["name"], one["rows"]) for one in result["training"]] == [("loss", 8)]
    assert result["training"][0]["difference"]["value"] < 0
    assert result["general"]["source"] == "other texts"


def test_other_texts_of_ones_own_and_none(runs: Path, here: Path, burnish: Burnish) -> None:
    write(here / "mine.jsonl", [{"text": f"The red fox number {number} is in the garden."} for number in range(12)])
    result = burnish("evaluate whole --answers 0 --general mine.jsonl --json").json
    assert (result["general"]["source"], result["general"]["loss"]["rows"]) == ("`mine.jsonl`", 12)
    shown = burnish("evaluate whole --answers 0 --general mine.jsonl")
    assert "`mine.jsonl`: loss (12 rows)" in shown.out
    nothing = burnish("evaluate whole --answers 0 --general none")
    assert nothing.code == 0, nothing.err
    assert "texts" not in nothing.out
    missing = burnish("evaluate whole --general nowhere.jsonl")
    assert (missing.code, missing.what) == (2, "no such file: `nowhere.jsonl`")


def test_tokens_of_no_texts_are_named_as_unused(here: Path, base: Path, rows_file: Path, burnish: Burnish) -> None:
    command = f"train {rows_file} --model {base} {SHORT} --set evaluate.general_tokens=400"
    warned = burnish(command)
    assert "`evaluate.general_tokens` has no effect: no texts outside the task" in " ".join(warned.err.split())
    assert "has no effect" not in burnish(f"{command} --set evaluate.general=bundled").err


def test_texts_that_are_not_there_are_missed_before_anything_is_trained(
    here: Path, base: Path, rows_file: Path, burnish: Burnish
) -> None:
    result = burnish(f"train {rows_file} --model {base} {SHORT} --set evaluate.general=nowhere.jsonl")
    assert (result.code, result.what) == (2, "no such file: `nowhere.jsonl`")
    assert not (here / "runs").exists()


def test_rows_of_another_file_do_not_hide_what_was_trained_on(runs: Path, here: Path, burnish: Burnish) -> None:
    rows = [{"prompt": f"What is {number} like, the fox?", "completion": "It is red."} for number in range(60, 72)]
    write(here / "other.jsonl", rows)
    result = burnish("evaluate whole other.jsonl --answers 0 --json").json
    assert (result["rows"], result["training"][0]["rows"]) == (12, 12)
    data = Path(burnish("show whole --json").json["recipe"]["data"]["path"])
    recipe = runs / "whole" / "recipe.yaml"
    changed = write(here / "changed.jsonl", [json.loads(line) for line in data.read_text().splitlines()[:-1]])
    recipe.write_text(recipe.read_text(encoding="utf-8").replace(str(data), str(changed)), encoding="utf-8")
    assert burnish("evaluate whole other.jsonl --answers 0 --json").json["training"] == []


def test_a_classifier_has_training_rows_and_no_other_texts(here: Path) -> None:
    write(here / "reviews.jsonl", [{"text": text, "label": label} for text, label in reviews(40)])
    events: list[Any] = []
    run = burnish_api.train(
        "reviews.jsonl",
        model=save_reader(here / "model", "bert"),
        name="mine",
        max_steps=2,
        precision="fp32",
        device="cpu",
        listeners=[events.append],
    )
    assert run.evaluation is not None
    assert run.evaluation["general"] is None
    assert [one["name"] for one in run.evaluation["training"]] == ["loss", "accuracy"]
    assert run.summary["recipe"]["evaluate"]["general"] == "none"
    assert not any("general" in event.text for event in events if isinstance(event, Warned))


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A small package of the tests stands in for lm-evaluation-harness."""
    monkeypatch.syspath_prepend(str(STAND_INS))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "lm_eval"]:
        del sys.modules[name]


@pytest.mark.usefixtures("harness")
def test_both_models_do_the_tasks_of_the_harness(runs: Path, burnish: Burnish) -> None:
    result = burnish("evaluate whole --answers 0 --harness colours,perplexing --json").json
    assert [one["name"] for one in result["harness"]] == [
        "colours likely",
        "colours loss",
        "perplexing perplexity (strict)",
    ]
    loss = result["harness"][1]
    assert loss["base"]["value"] - loss["tuned"]["value"] > 0.05, "one of the two was not the model it should be"
    shown = burnish("evaluate whole --answers 0 --harness colours")
    assert shown.code == 0, shown.err
    assert "lm-evaluation-harness:" in shown.out.splitlines()
    assert any(line.startswith("colours loss (5 rows)") for line in shown.out.splitlines())
    wrong = burnish("evaluate whole --harness colors")
    assert (wrong.code, wrong.hint) == (2, "Did you mean `colours`?")


def test_without_the_harness_the_extra_is_named(runs: Path, burnish: Burnish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    result = burnish("evaluate whole --harness colours")
    assert (result.code, result.what) == (3, "lm-evaluation-harness is not installed")
    assert "burnish[harness]" in result.hint
