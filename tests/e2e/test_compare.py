"""`burnish compare`: runs on the same rows, what differs between them, and what another seed does."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import burnish as burnish_api
from tests.e2e.command_result import screen
from tests.e2e.conftest import Burnish
from tests.e2e.test_end_of_text import make_gpt2
from tests.snapshots import check_snapshot
from tests.tiny_data import write_rows

HELD_OUT = 40
OPTIONS: dict[str, Any] = {"max_steps": 6, "epochs": 6, "precision": "fp32", "device": "cpu"}
SHARED = {"batch.tokens": 256, "evaluate.answers": 0, "evaluate.general": "none", "train.early_stopping": False}
RUNS: dict[str, dict[str, Any]] = {
    "slow": {"learning_rate": 1e-4},
    "fast": {"learning_rate": 0.02},
    "slow-1": {"learning_rate": 1e-4, "seed": 1},
    "fast-1": {"learning_rate": 0.02, "seed": 1},
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """Runs of two recipes, each of two seeds, that hold out the same rows; and one of another task."""
    root = tmp_path_factory.mktemp("compared")
    rows = write_rows(root / "all.jsonl", 40 + HELD_OUT).read_text(encoding="utf-8").splitlines(keepends=True)
    (root / "rows").mkdir()
    (root / "rows" / "train.jsonl").write_text("".join(rows[HELD_OUT:]), encoding="utf-8")
    (root / "rows" / "test.jsonl").write_text("".join(rows[:HELD_OUT]), encoding="utf-8")
    for name, options in RUNS.items():
        chosen = {**OPTIONS, **options, "name": name}
        burnish_api.train(root / "rows", model=base, runs=root / "runs", set=SHARED, **chosen)
    (root / "tale.txt").write_text("The red fox is in the garden. " * 300, encoding="utf-8")
    few = {**OPTIONS, "max_steps": 2}
    burnish_api.train(root / "tale.txt", model=base, runs=root / "runs", name="tale", set=SHARED, **few)
    return root


@pytest.fixture
def compared(here: Path, made: Path) -> Path:
    """The runs, in the working directory."""
    shutil.copytree(made / "runs", here / "runs")
    return here / "runs"


def test_two_learning_rates(compared: Path, made: Path, burnish: Burnish) -> None:
    result = burnish("compare slow fast")
    assert result.code == 0, result.err
    shown = screen(result, {str(made / "rows"): "ROWS"})
    check_snapshot("e2e/test_compare::two learning rates", re.sub(r"(?m)^.* \|.*\n", "", shown))
    verdict = burnish("compare slow fast --quiet").out
    assert " ".join(result.out.splitlines()[:2]) + "\n" == verdict
    assert verdict.startswith(f"`fast` is better than `slow` on {HELD_OUT} rows: ")


def test_json_has_all_of_it(compared: Path, burnish: Burnish) -> None:
    result = burnish("compare slow fast --json").json
    assert [run["name"] for run in result["runs"]] == ["slow", "fast"]
    assert result["recipes"] == [["slow"], ["fast"]]
    assert [one["option"] for one in result["options"]] == ["train.learning_rate"]
    assert result["options"][0]["values"] == [1e-4, 0.02]
    (figure,) = result["figures"]
    (pair,) = figure["pairs"]
    assert pair["is_shown"] is result["is_shown"] is True
    assert pair["change"]["low"] < pair["rows_alone"]["low"] < pair["rows_alone"]["high"] < pair["change"]["high"] < 0
    assert figure["noise"]["source"] == "validations"
    assert [len(curve["points"]) for curve in result["curves"]] == [7, 7]
    steps, tokens, loss = result["curves"][1]["points"][-1]
    assert (steps, tokens > 1000) == (6, True)
    assert loss == pytest.approx(figure["runs"][1]["value"], rel=0.2)


def test_a_run_on_its_own_rows_has_the_loss_that_evaluate_reports(compared: Path, burnish: Burnish) -> None:
    result = burnish("compare slow fast --json").json
    for number, name in enumerate(("slow", "fast")):
        evaluated = json.loads((compared / name / "evaluation.json").read_text(encoding="utf-8"))
        assert result["figures"][0]["runs"][number]["value"] == pytest.approx(
            evaluated["figures"][0]["tuned"]["value"], rel=1e-5
        )


def test_another_seed_is_no_other_recipe(compared: Path, burnish: Burnish) -> None:
    result = burnish("compare fast fast-1")
    assert result.code == 0, result.err
    verdict = " ".join(result.out.split())
    assert "The runs differ only in the seed. Over 2 seeds the loss varied by" in verdict
    assert "fast-1 - fast" not in result.out, "there is no pair of recipes"
    values = burnish("compare fast fast-1 --json").json
    assert values["is_shown"] is False
    assert values["recipes"] == [["fast", "fast-1"]]
    assert [one["option"] for one in values["options"]] == ["seed"]
    assert values["figures"][0]["runs"][0]["value"] != values["figures"][0]["runs"][1]["value"]


def test_seeds_show_the_noise_of_training(compared: Path, burnish: Burnish) -> None:
    result = burnish("compare slow slow-1 fast fast-1 --json").json
    assert result["recipes"] == [["slow", "slow-1"], ["fast", "fast-1"]]
    (figure,) = result["figures"]
    assert figure["noise"]["source"] == "seeds"
    assert figure["noise"]["freedom"] == 2
    values = [run["value"] for run in figure["runs"]]
    assert figure["pairs"][0]["change"]["value"] == pytest.approx(sum(values[2:]) / 2 - sum(values[:2]) / 2)
    assert "`fast` (2 seeds)" in result["verdict"]


def test_other_rows_without_those_that_were_trained_on(compared: Path, made: Path, burnish: Burnish) -> None:
    other = write_rows(made / "other.jsonl", 30, seed=9).read_text(encoding="utf-8")
    (made / "mixed.jsonl").write_text(other + (made / "rows" / "train.jsonl").read_text("utf-8"), encoding="utf-8")
    result = burnish(f"compare slow fast --data {made / 'mixed.jsonl'}")
    assert result.code == 0, result.err
    assert "40 rows that a run was trained or validated on are left out." in result.out
    assert "On 30 rows (`" in result.out


def test_another_tokenizer_is_compared_per_byte(compared: Path, made: Path, burnish: Burnish) -> None:
    options = {**OPTIONS, "max_steps": 2, "learning_rate": 0.02}
    make_gpt2(made / "gpt2", 0)
    burnish_api.train(made / "rows", model=made / "gpt2", runs=compared, name="other", set=SHARED, **options)
    result = burnish("compare fast other --json")
    assert result.code == 0, result.err
    assert [figure["name"] for figure in result.json["figures"]] == ["loss per byte"]
    assert "given per byte of text" in result.json["remarks"][0]
    assert "model.name" in [one["option"] for one in result.json["options"]]


def test_runs_of_other_tasks_are_refused(compared: Path, burnish: Burnish) -> None:
    result = burnish("compare slow tale")
    assert result.code == 2
    assert result.what == "the runs `slow` and `tale` have different tasks, `chat` and `text`"
    assert result.why
    assert "Compare runs of the task `chat`" in result.hint


def test_too_few_shared_rows_are_refused_with_their_number(runs: Path, burnish: Burnish) -> None:
    shutil.copytree(runs / "whole", runs / "copy")
    result = burnish("compare whole copy")
    assert result.code == 2
    assert result.what == "these 2 runs have 8 rows in common that none of them was trained on"
    assert "At least 10 are needed" in result.why
    assert "--data" in result.hint


def test_the_same_recipe_and_seed(compared: Path, burnish: Burnish) -> None:
    shutil.copytree(compared / "fast", compared / "copy")
    result = burnish("compare fast copy")
    assert result.code == 0, result.err
    assert burnish("compare fast copy --json").json["options"] == []
    assert result.out.startswith("No difference is shown: the runs have the same recipe and seed.\n")


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("whole", "a comparison needs at least two runs"),
        ("whole runs/whole", "the run `whole` is named twice"),
        ("whole stopped", "the run `stopped` has no result yet"),
        ("whole hwole", "there is no run `hwole`"),
    ],
)
def test_what_cannot_be_compared(runs: Path, burnish: Burnish, words: str, what: str) -> None:
    result = burnish(f"compare {words}")
    assert result.code == 2
    assert result.what == what
    assert result.hint
