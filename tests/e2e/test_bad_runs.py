"""Runs that are not there, cannot go on or cannot be evaluated; and rows that are left out of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e import bad_files as bad
from tests.e2e import changed_runs as changed
from tests.e2e.bad_case import Case, check
from tests.e2e.command_result import read_lines
from tests.e2e.conftest import SHORT, Burnish

CASES = [
    *(
        Case(f"{words.split()[0]} of an unknown run", changed.as_made, words, names=("whol",))
        for words in ("resume whol", "evaluate whol", "generate whol hello", "chat whol", "show whol")
    ),
    Case(
        "unknown run, none is near",
        changed.as_made,
        "show zebra",
        names=("zebra",),
    ),
    Case(
        "run name is taken",
        bad.rows(),
        "train rows.jsonl --model BASE --name whole",
        names=("runs/whole",),
    ),
    Case(
        "run name is not fit for a folder",
        bad.rows(),
        "train rows.jsonl --model BASE --name ../away",
        names=("../away",),
    ),
    Case(
        "runs folder is a file",
        bad.rows(),
        "train rows.jsonl --model BASE --name mine --runs rows.jsonl",
        names=("rows.jsonl/mine",),
    ),
    Case(
        "resume of a finished run",
        changed.as_made,
        "resume whole",
        names=("whole",),
    ),
    Case(
        "resume after the data changed",
        changed.data_changed("stopped"),
        "resume stopped",
        names=("stopped",),
    ),
    Case(
        "resume after the data went away",
        changed.data_gone("stopped"),
        "resume stopped",
        names=("./rows.jsonl",),
    ),
    Case(
        "resume after the base model changed",
        changed.base_changed("stopped"),
        "resume stopped",
        names=("./model", "stopped"),
    ),
    Case(
        "evaluate after the data changed",
        changed.data_changed("whole"),
        "evaluate whole",
        names=("whole",),
    ),
    Case(
        "evaluate after the base model changed",
        changed.base_changed("whole"),
        "evaluate whole",
        names=("./model", "whole"),
    ),
    Case(
        "evaluate on rows of another task",
        bad.rows(*({"text": f"The hat is {number}."} for number in range(5))),
        "evaluate whole rows.jsonl",
        names=("rows.jsonl", "whole"),
    ),
    *(
        Case(
            f"{words.split()[0]} of a run without a result",
            changed.as_made,
            words,
            names=("stopped",),
        )
        for words in ("evaluate stopped", "generate stopped hello", "chat stopped")
    ),
    *(
        Case(
            f"{words.split()[0]} with an adapter that changes nothing",
            changed.adapter_zeroed,
            words,
            names=("runs/whole/adapter",),
        )
        for words in ("evaluate whole", "generate whole hello", "chat whole")
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_runs(case: Case, here: Path, base: Path, runs: Path, burnish: Burnish) -> None:
    check("bad_runs", case, here, base, burnish)


def test_a_process_ends_with_the_exit_code(runs: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "burnish", *words]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    ended = run("show", "whol")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("error: ") and "`whol`" in ended.stderr.splitlines()[0]
    ended = run("show", "whole", "--json")
    assert (ended.returncode, json.loads(ended.stdout)["state"], ended.stderr) == (0, "finished", "")


def test_resume_with_an_edited_recipe(here: Path, base: Path, runs: Path, burnish: Burnish) -> None:
    changed.recipe_broken(here, base)
    lines = (runs / "stopped" / "recipe.yaml").read_text(encoding="utf-8").splitlines()
    (wrong,) = [number for number, line in enumerate(lines, start=1) if line.startswith("  epoch: ")]
    result = burnish("resume stopped")
    assert result.code == 2
    assert result.what == f"`train.epoch` is not an option (recipe.yaml line {wrong})"
    assert result.hint == "Did you mean `train.epochs`?"


@pytest.mark.slow
def test_one_bad_line_in_a_thousand(here: Path, base: Path, burnish: Burnish) -> None:
    rows = bad.good_rows(1000)
    (here / "rows.jsonl").write_text(bad.lines(*rows[:499], '{"prompt": "What', *rows[500:]), encoding="utf-8")
    result = burnish(f"train rows.jsonl --model {base} --name mine {SHORT}")
    assert result.code == 0, result.err
    (ready,) = read_lines(here / "runs/mine/events.jsonl", "DataReady")
    assert [ready[f"{kind}_rows"] for kind in ("training", "validation", "test", "rejected")] == [799, 100, 100, 1]
    rejected = [json.loads(line) for line in (here / "runs/mine/rejected.jsonl").read_text().splitlines()]
    assert [(row["file"], row["line"]) for row in rejected] == [(str(here / "rows.jsonl"), 500)]
    assert "JSON at column" in rejected[0]["reason"]


def test_rows_with_an_empty_answer_or_too_long_are_named(here: Path, base: Path, burnish: Burnish) -> None:
    rows = bad.good_rows(40)
    rows[6]["completion"] = ""
    rows[20]["completion"] = "word " * 300
    (here / "rows.jsonl").write_text(bad.lines(*rows), encoding="utf-8")
    result = burnish(f"train rows.jsonl --model {base} --name mine {SHORT}")
    assert result.code == 0, result.err
    (ready,) = read_lines(here / "runs/mine/events.jsonl", "DataReady")
    assert ready["rejected_rows"] == 2
    rejected = [json.loads(line) for line in (here / "runs/mine/rejected.jsonl").read_text().splitlines()]
    assert {row["line"]: row["reason"] for row in rejected} == {
        7: "the answer is empty (column `completion`)",
        21: "the answer alone is 1501 tokens, longer than the context of 64 has room for",
    }
