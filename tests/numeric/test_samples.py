"""Watching what a run answers while it trains changes nothing of it, and shows what the evaluation shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from burnish.engine.samples import Samples
from burnish.runs.event_log import read_events
from burnish.runs.events import Sampled
from burnish.runs.folder import RunFolder
from burnish.tasks.task import Question
from burnish.workflows.train import train
from tests.numeric.test_resume import a_recipe, logged, result_bytes
from tests.tiny_data import write_rows


@pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_a_watched_run_is_the_same_run(method: str, tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    rows, base = write_rows(tmp_path / "rows.jsonl"), tiny_model("llama")
    runs = [
        train(a_recipe(rows, base, method, tmp_path / f"watched{number}", evaluate__samples=number)).folder
        for number in (0, 3)
    ]
    alone, watched = runs
    assert result_bytes(watched, method) == result_bytes(alone, method)
    assert logged(watched) == logged(alone)
    assert not sampled(alone)
    first = sampled(watched)[0]
    assert first["step"] == 0
    evaluated = json.loads(watched.evaluation.read_text())["answers"][:3]
    assert [one["given"] for one in first["answers"]] == [one["base"].strip() for one in evaluated]
    assert [one["expected"] for one in first["answers"]] == [one["expected"] for one in evaluated]


def test_predictions_are_those_of_the_validation(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    """A task that writes nothing shows what its validation has computed."""
    texts = [{"text": f"the {word} number {at}", "label": word} for at in range(20) for word in ("red", "blue")]
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in texts))
    watched = train(a_recipe(rows, tiny_model("llama"), "lora", tmp_path, evaluate__samples=2)).folder
    found, evaluation = sampled(watched), json.loads(watched.evaluation.read_text())
    validations = [event["step"] for event in read_events(watched.metrics) if event["event"] == "Validated"]
    assert [event["step"] for event in found] == validations
    shown = evaluation["answers"][:2]
    assert [one["given"] for one in found[0]["answers"]] == [one["base"] for one in shown]
    best = next(event for event in found if event["step"] == last(watched)["best_step"])
    assert [one["given"] for one in best["answers"]] == [one["tuned"] for one in shown]


def test_answers_that_take_too_long_are_left_out() -> None:
    samples = Samples(task=None, tokenizer=None, number=1, questions=[None], max_new_tokens=1, precision="fp32")  # pyright: ignore[reportArgumentType]
    samples.seconds = 1.0
    assert samples.take(None, None, step=5, trained=19.0) is None


def test_the_time_of_answers_counts_from_those_of_the_base_on(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Question([1], "Who?", "Ann", "a:1")
    samples = Samples(task=None, tokenizer=None, number=1, questions=[asked], max_new_tokens=1, precision="fp32")  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(Samples, "_written", lambda self, network: ["Ida"])
    monkeypatch.setattr("burnish.engine.samples.time.perf_counter", iter([10.0, 50.0, 57.0, 60.0, 62.0]).__next__)
    first = samples.take(None, None, step=0, trained=0.0)
    assert isinstance(first, Sampled)
    assert samples.seconds == 0.0
    for step, seconds in ((5, 7.0), (10, 9.0)):
        samples.take(None, None, step=step, trained=1e6)
        assert samples.seconds == seconds


def sampled(folder: RunFolder) -> list[dict[str, Any]]:
    """The answers of a run, as its log has them."""
    return [event for event in read_events(folder.events) if event["event"] == "Sampled"]


def last(folder: RunFolder) -> dict[str, int]:
    """How the run ended."""
    return next(event for event in read_events(folder.events) if event["event"] == "Finished")
