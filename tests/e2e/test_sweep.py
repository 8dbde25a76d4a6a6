"""`burnish sweep`: runs as `train` makes them, ranked on validation rows; the best alone is evaluated."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import burnish as burnish_api
from burnish.runs.events import read_events
from tests.e2e.conftest import EXACT, Burnish
from tests.tiny_classifiers import reviews
from tests.tiny_data import write_rows

VALID = 20
OPTIONS: dict[str, Any] = {"max_steps": 6, "epochs": 20, "precision": "fp32", "device": "cpu"}
SHARED = {"batch.tokens": 256, "evaluate.answers": 0}
OVER = {"train.learning_rate": [1e-4, 0.02], "lora.rank": [4, 8]}
NAMES = [f"learning_rate-{rate}-rank-{rank}" for rate in ("0.0001", "0.02") for rank in (4, 8)]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows with a validation file of their own."""
    folder = tmp_path_factory.mktemp("rows")
    lines = write_rows(folder / "all.jsonl", 40 + VALID).read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "rows").mkdir()
    (folder / "rows" / "train.jsonl").write_text("".join(lines[VALID:]), encoding="utf-8")
    (folder / "rows" / "valid.jsonl").write_text("".join(lines[:VALID]), encoding="utf-8")
    return folder / "rows"


def words(rows: Path, base: Path, over: str, more: str = "") -> str:
    """A sweep as a command."""
    short = f"{EXACT} --set train.max_steps=6 --set train.epochs=20 --set batch.tokens=256 --set evaluate.answers=0"
    return f"sweep {rows} --model {base} --method lora {short} {over} {more}"


@pytest.fixture(scope="module")
def swept(rows: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished sweep of four runs."""
    runs = tmp_path_factory.mktemp("swept")
    done = burnish_api.sweep(rows, model=base, method="lora", over=OVER, runs=runs, set=SHARED, name="all", **OPTIONS)
    return done.path


def results(run: Path) -> dict[str, bytes]:
    """The trained weights of a run."""
    return {file.name: file.read_bytes() for part in ("adapter", "model") for file in run.glob(f"{part}/*.safetensors")}


def course(run: Path) -> list[Any]:
    """What a run computed, step by step."""
    kept = ("step", "loss", "learning_rate", "gradient_norm", "figures", "is_best")
    return [{key: line[key] for key in kept if key in line} for line in read_events(run / "metrics.jsonl")]


@pytest.mark.parametrize(
    ("name", "rate", "rank"), [("learning_rate-0.0001-rank-4", 1e-4, 4), ("learning_rate-0.02-rank-8", 0.02, 8)]
)
def test_each_run_is_the_one_that_train_makes(
    swept: Path, rows: Path, base: Path, tmp_path: Path, name: str, rate: float, rank: int
) -> None:
    alone = burnish_api.train(
        rows, model=base, method="lora", learning_rate=rate, rank=rank, runs=tmp_path, set=SHARED, **OPTIONS
    )
    assert course(swept / name) == course(alone.path)
    assert results(swept / name) == results(alone.path) != {}
    saved = [dict(burnish_api.load_run(path).summary["recipe"]) for path in (swept / name, alone.path)]
    assert [recipe | {"name": "", "runs": ""} for recipe in saved] == 2 * [saved[1] | {"name": "", "runs": ""}]


CASES = {
    "full": ({"method": "full"}, {"train.learning_rate": [1e-3, 2e-3]}, "prompts"),
    "seeds": ({"method": "lora", "lora.dropout": 0.3}, {"lora.rank": [2, 4]}, "prompts"),
    "method": ({}, {"method": ["lora", "full", "freeze"]}, "prompts"),
    "dpo": ({"method": "lora"}, {"preference.beta": [0.1, 0.5], "batch.tokens": [200, 400]}, "pairs"),
    "classify": ({"method": "lora"}, {"train.weight_decay": [0.0, 0.5]}, "labels"),
}


@pytest.fixture(scope="module")
def data(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Rows of several kinds."""
    folder = tmp_path_factory.mktemp("data")
    pairs = [
        {"prompt": f"Say {n}", "chosen": f"Yes, {n} it is.", "rejected": f"No {n}" + " no" * (n % 4)} for n in range(90)
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs), encoding="utf-8")
    labels = [{"text": text, "label": label} for text, label in reviews(120)]
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in labels), encoding="utf-8")
    return {"prompts": rows, "pairs": folder / "pairs.jsonl", "labels": folder / "labels.jsonl"}


@pytest.mark.parametrize("case", CASES)
def test_a_shared_base_is_as_freshly_loaded(case: str, data: Mapping[str, Path], base: Path, tmp_path: Path) -> None:
    fixed, over, kind = CASES[case]
    seeds = 2 if case == "seeds" else 1
    options = {**OPTIONS, "max_steps": 3, "model": base}
    shared = {**SHARED, "data.validation_fraction": 0.2, **fixed}
    shared = {name: value for name, value in shared.items() if name not in over}
    done = burnish_api.sweep(data[kind], over=over, seeds=seeds, runs=tmp_path / "swept", set=shared, **options)
    for run in done.state.runs:
        chosen = {**shared, **run.setting, "seed": run.seed, "name": run.name}
        alone = burnish_api.train(data[kind], runs=tmp_path / "alone", set=chosen, **options)
        assert course(done.path / run.name) == course(alone.path), run.name
        assert results(done.path / run.name) == results(alone.path) != {}, run.name


def test_the_table_and_the_winner(swept: Path) -> None:
    state = json.loads((swept / "sweep.json").read_text(encoding="utf-8"))
    assert [run["name"] for run in state["runs"]] == NAMES
    ranking = state["ranking"]
    assert (ranking["metric"], ranking["rows"], ranking["num_pairs"]) == ("loss", VALID, 6)
    assert [one["rank"] for one in ranking["settings"]] == [1, 2, 3, 4]
    values = [one["value"]["value"] for one in ranking["settings"]]
    assert values == sorted(values)
    best = ranking["settings"][0]
    assert (best["change"], best["setting"]["train.learning_rate"]) == (None, 0.02)
    assert all(one["change"]["value"] > 0 for one in ranking["settings"][1:])
    for one in ranking["settings"]:
        validations = [line for line in read_events(swept / one["name"] / "metrics.jsonl") if "figures" in line]
        (kept,) = [run["step"] for run in state["runs"] if run["name"] == one["name"]]
        (loss,) = [line["loss"] for line in validations if line["step"] == kept]
        assert one["value"]["value"] == pytest.approx(loss, rel=1e-6)
    assert state["winner"] == best["runs"][0]
    assert state["is_finished"] is True


def test_the_winner_alone_is_evaluated(swept: Path, burnish: Burnish, tmp_path: Path) -> None:
    winner = json.loads((swept / "sweep.json").read_text(encoding="utf-8"))["winner"]
    evaluated = [name for name in NAMES if (swept / name / "evaluation.json").exists()]
    assert evaluated == [winner]
    assert "sweep" not in (swept / winner / "report.html").read_text(encoding="utf-8").split("<section")[0]
    loser = NAMES[0]
    page = " ".join((swept / loser / "report.html").read_text(encoding="utf-8").split())
    assert "The sweep `all` ranked this setting" in page
    assert f"burnish evaluate {swept / loser}" in page
    copy = shutil.copytree(swept / loser, tmp_path / "loser")
    assert burnish(f"evaluate {copy} --answers 0").code == 0
    assert (copy / "evaluation.json").is_file()
    assert "The sweep `all`" not in (copy / "report.html").read_text(encoding="utf-8")


def test_runs_of_a_sweep_are_ordinary_runs(swept: Path, burnish: Burnish) -> None:
    assert burnish(f"generate {swept / NAMES[1]} hello --max-new-tokens 2").code == 0
    shown = burnish(f"show {swept / NAMES[0]} --json").json
    assert (shown["state"], shown["seconds"] > 0, shown["validation_loss_before"] > 0) == ("finished", True, True)
    listed = burnish(f"runs --runs {swept} --json").json["runs"]
    assert sorted(run["name"] for run in listed) == sorted(NAMES)
    refused = burnish(f"resume {swept / NAMES[0]}")
    assert (refused.code, "is finished" in refused.what) == (2, True)
