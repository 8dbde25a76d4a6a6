"""A run on three sources with weights: resumed bit for bit, with figures for each, and seen whole by other commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import Interrupted
from burnish.recipe.load import load_recipe
from burnish.recipe.schema import Recipe
from burnish.runs.description import read_manifest
from burnish.runs.event_log import read_events
from burnish.runs.folder import RunFolder
from burnish.workflows.check import check
from burnish.workflows.evaluate import evaluate
from burnish.workflows.reproduce import reproduce
from burnish.workflows.resume import resume
from burnish.workflows.train import train
from tests.numeric.test_resume import evaluation_text, logged, stopper
from tests.unit.data.rows.test_mixing import write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the sources and the runs."""
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def sources(folder: Path) -> list[Any]:
    """Three of them."""
    a, b, c = (str(write(folder / f"{name}.jsonl", name, count)) for name, count in (("a", 60), ("b", 40), ("c", 40)))
    return [a, {"path": b, "weight": 0.3, "rows": 35}, {"path": c, "weight": 0.2}]


def recipe_for(sources: list[Any], base: Path, runs: Path, name: str) -> Recipe:
    """Four steps of LoRA on them."""
    flags = {
        "data.path": sources,
        "model.name": str(base),
        "runs": str(runs),
        "name": name,
        "method": "lora",
        "model.device": "cpu",
        "model.precision": "fp32",
        "train.max_steps": 4,
        "batch.tokens": 128,
        "evaluate.every": 2,
        "evaluate.answers": 0,
        "evaluate.general": "none",
        "data.context": 64,
    }
    return load_recipe(None, flags, []).recipe


@pytest.fixture(scope="module")
def run(sources: list[Any], folder: Path, tiny_model: Callable[[str], Path]) -> RunFolder:
    """Trained straight through."""
    return train(recipe_for(sources, tiny_model("llama"), folder, "straight")).folder


def test_a_stopped_run_goes_on_bit_for_bit(
    run: RunFolder, sources: list[Any], folder: Path, tiny_model: Callable[[str], Path]
) -> None:
    with pytest.raises(Interrupted):
        train(recipe_for(sources, tiny_model("llama"), folder, "stopped"), listeners=[stopper(2)])
    stopped = resume(RunFolder(folder / "stopped")).folder
    weights = [one.adapter / "adapter_model.safetensors" for one in (stopped, run)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert logged(stopped) == logged(run)
    assert evaluation_text(stopped) == evaluation_text(run)


def test_there_are_figures_for_each_source(run: RunFolder) -> None:
    found = json.loads(run.evaluation.read_text())
    assert [one["name"] for one in found["sources"]] == ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert sum(one["rows"] for one in found["sources"]) == found["rows"]
    losses = [one["figures"][0] for one in found["sources"]]
    terms = found["figures"][0]
    low, high = min(one["tuned"]["value"] for one in losses), max(one["tuned"]["value"] for one in losses)
    assert low < terms["tuned"]["value"] < high
    validated = [line for line in read_events(run.metrics) if line["event"] == "Validated"]
    assert all(list(line["sources"]) == ["a.jsonl", "b.jsonl", "c.jsonl"] for line in validated)
    assert found["validation_sources"]["b.jsonl"][0] == validated[0]["sources"]["b.jsonl"]
    assert "Validation loss by source: a.jsonl" in found["note"]
    page = run.report.read_text(encoding="utf-8")
    assert "b.jsonl: loss" in page
    again = evaluate(run, answers=0).to_dict()
    assert [one["name"] for one in again["sources"]] == ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert again["validation_sources"] == found["validation_sources"]


def test_the_manifest_says_what_was_drawn(run: RunFolder) -> None:
    data = read_manifest(run)["data"]
    drawn = [one["drawn"] for one in data["sources"]]
    assert sum(drawn) == data["rows"]
    assert [number / data["rows"] for number in drawn[1:]] == pytest.approx([0.3, 0.2], abs=0.5 / data["rows"])
    assert reproduce(run, steps=2).passed


def test_the_check_sees_every_source(sources: list[Any], folder: Path, tiny_model: Callable[[str], Path]) -> None:
    bad = folder / "bad.jsonl"
    bad.write_text('{"prompt": "p?", "completion": "x"}\nnot json\n', encoding="utf-8")
    checkup = check(recipe_for([*sources, str(bad)], tiny_model("llama"), folder, "checked"))
    places = [place for finding in checkup.findings for place in finding.places]
    assert any(place.startswith(f"{bad}:2") for place in places)
    assert checkup.facts["rows"].startswith("136, 1 left out")
