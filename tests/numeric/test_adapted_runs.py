"""A run that changes its plan while it trains: stopped and resumed, reproduced and as a script, it is the same."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from burnish.engine.schedule import learning_rate_at
from burnish.errors import Interrupted
from burnish.lineage.saved_recipe import open_recipe
from burnish.recipe.schema import Recipe
from burnish.runs.event_log import read_events
from burnish.runs.folder import RunFolder
from burnish.workflows.eject import eject
from burnish.workflows.reproduce import reproduce
from burnish.workflows.resume import resume
from burnish.workflows.train import train
from tests.numeric.test_resume import evaluation_text, logged, result_bytes, said, steps, stopper
from tests.tiny_data import make_recipe, write_rows

PLANNED = 10


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of every run here."""
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl", count=40)


@pytest.fixture(scope="module")
def base(tiny_model: Callable[[str], Path]) -> Path:
    """The base model of every run here."""
    return tiny_model("llama")


@pytest.fixture(scope="module")
def straight(rows: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that nothing disturbed."""
    return train(a_recipe(rows, base, tmp_path_factory.mktemp("straight"))).folder


def a_recipe(rows: Path, base: Path, runs: Path, **options: Any) -> Recipe:
    """A rate at which the loss still falls after ten steps."""
    given: dict[str, Any] = {
        "name": "made",
        "data__test": "none",
        "method": "lora",
        "train__adapt": True,
        "train__epochs": 1.0,
        "train__learning_rate": 3e-3,
        "batch__tokens": 130,
        "batch__rows": 2,
        "evaluate__every": 3,
        "evaluate__answers": 0,
        "save__keep": 1,
    }
    return make_recipe(rows, base, runs, **{**given, **options})


def adapted(folder: RunFolder) -> list[dict[str, Any]]:
    """What it changed."""
    return [line for line in read_events(folder.events) if line["event"] == "Adapted"]


def test_it_goes_on_with_another_schedule(straight: RunFolder) -> None:
    changes, lines = adapted(straight), steps(straight)
    planned = changes[0]["step"]
    ends = [planned, 2 * planned, 3 * planned]
    assert [change["step"] for change in changes] == ends[:2], "after each of its schedules the loss still fell"
    assert [(change["total_steps"], change["factor"]) for change in changes] == [(ends[1], 1.0), (ends[2], 1.0)]
    assert [line["total_steps"] for line in lines] == [end for end in ends for _ in range(planned)]
    rates = [line["learning_rate"] for line in lines]
    assert rates == 3 * rates[:planned]
    assert changes[0]["learning_rate"] == max(rates) == 3e-3
    validated = [line["step"] for line in logged(straight) if line["event"] == "Validated"]
    assert set(ends) <= set(validated), "all ends are validated"


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(-4, id="before the change", marks=pytest.mark.slow),
        pytest.param(0, id="with it"),
        pytest.param(3, id="after it", marks=pytest.mark.slow),
    ],
)
def test_a_stop_changes_nothing(after: int, straight: RunFolder, rows: Path, base: Path, tmp_path: Path) -> None:
    planned = adapted(straight)[0]["step"]
    with pytest.raises(Interrupted):
        train(a_recipe(rows, base, tmp_path), listeners=[stopper(planned + after)])
    folder = RunFolder(tmp_path / "made")
    resume(folder)
    assert logged(folder) == logged(straight)
    assert said(folder) == said(straight)
    assert result_bytes(folder, "lora") == result_bytes(straight, "lora")
    assert evaluation_text(folder) == evaluation_text(straight)


def test_it_is_reproduced_without_validations(straight: RunFolder) -> None:
    assert reproduce(straight, steps=None).passed


def test_a_script_has_its_schedules(straight: RunFolder, tmp_path: Path) -> None:
    script, _ = eject(straight, tmp_path / "eject.py")
    tree = ast.parse(script.read_text(encoding="utf-8"))
    wanted = {"WARMUP", "SCHEDULE", "CYCLES", "TOTAL_STEPS", "rate_at"}
    kept = [
        node
        for node in tree.body
        if getattr(node, "name", None) in wanted
        or (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in wanted)
    ]
    names: dict[str, Any] = {"math": math}
    exec(compile(ast.Module(kept, []), "script", "exec"), names)
    train, of_run = open_recipe(straight).train, [line["learning_rate"] for line in steps(straight)]
    assert names["TOTAL_STEPS"] == len(of_run)
    rates = [float(train.learning_rate) * names["rate_at"](step) for step in range(len(of_run))]
    assert rates == pytest.approx(of_run)
    assert rates[0] == learning_rate_at(0, len(of_run) // 2, train)


def test_the_report_says_so(straight: RunFolder) -> None:
    page = (straight.path / "report.html").read_text(encoding="utf-8")
    assert "Went on at step" in page


def test_without_the_option_it_ends_as_planned(rows: Path, base: Path, straight: RunFolder, tmp_path: Path) -> None:
    folder = train(a_recipe(rows, base, tmp_path, train__adapt=False)).folder
    planned = adapted(straight)[0]["step"]
    assert len(steps(folder)) == planned
    assert adapted(folder) == []
    assert "underfitting" in [line["name"] for line in said(folder)]
