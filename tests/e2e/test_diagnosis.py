"""Runs that go wrong in a known way are called by their names, on the terminal and in the run folder."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command_result import read_lines
from tests.e2e.conftest import EXACT, Burnish
from tests.tiny_data import write_rows

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The bench that makes such runs."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module("diagnoses")


@pytest.mark.slow
@pytest.mark.parametrize("case", ["overfit", "good", "rate x 100", "rate / 1000", "shuffled"])
def test_each_staged_run_is_called_by_its_name(case: str, bench: Any, tmp_path: Path) -> None:
    exact = {"model.device": "cpu", "model.precision": "fp32"}
    run = bench.staged_run(bench.STAGES["classify"], case, 0, tmp_path, exact)
    findings = read_lines(run / "events.jsonl", "Diagnosed")
    names = [line["name"] for line in findings]
    assert bench.is_right(case, names), names
    assert len(set(names)) == len(names)
    assert all(line["evidence"] for line in findings)
    assert all(line["advice"] for line in findings if line["name"] not in ("learning", "recovered"))
    if case == "shuffled":
        assert "labels" in findings[-1]["advice"]


def test_the_bench_distinguishes_right_from_wrong(bench: Any) -> None:
    assert bench.is_right("good", ["learning"])
    assert not bench.is_right("good", ["learning", "overfitting"])
    assert not bench.is_right("good", [])
    assert not bench.is_right("overfit", ["learning"])
    assert bench.is_right("shuffled", ["learning", "overfitting"])
    assert not bench.is_right("shuffled", ["learning"])
    assert bench.is_right("shuffled", ["learning"], "chat"), "written answers have a form that can be learned"
    text = bench.table({"good": [["learning"], []]})
    assert text.splitlines()[-1] == "| good | 1 of 2 | learning; nothing |"


@pytest.mark.slow
def test_a_row_that_blows_a_step_up_is_named(here: Path, base: Path, burnish: Burnish) -> None:
    """One row in forty is noise; the steps that read it stand out, and its line is among those named."""
    rows = [json.loads(line) for line in write_rows(here / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    rows[16]["completion"] = "zq xj vk wq jx qz kv xw zj qk"
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (here / "valid.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:6]), encoding="utf-8")
    result = burnish(
        f"train rows.jsonl --model {base} --method lora --name mine {EXACT} --set data.validation=valid.jsonl "
        "--set data.packing=false --set batch.tokens=100 --set train.epochs=12 --set train.learning_rate=0.004 "
        "--set train.early_stopping=false --set evaluate.answers=0 --set evaluate.every=60 "
        "--set train.schedule=constant"
    )
    assert result.code == 0, result.err
    spikes = read_lines(here / "runs/mine/events.jsonl", "Spiked")
    assert spikes
    assert all(any(row.endswith("rows.jsonl:17") for row in spike["rows"]) for spike in spikes)
    assert re.search(r"rows\.jsonl:(\d+, )*17\b", result.err)
