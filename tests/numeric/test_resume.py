"""Stopped and resumed = never stopped, to the last bit."""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from burnish.errors import InputError, Interrupted
from burnish.recipe.schema import Recipe
from burnish.runs.event_log import read_events
from burnish.runs.events import Event, Note, StepDone
from burnish.runs.folder import RunFolder
from burnish.workflows.resume import resume
from burnish.workflows.train import train
from tests.tiny_data import make_recipe, write_rows

STEPS = 9
ONE_METHOD = pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.slow)], indirect=True)
"""For what does not depend on which weights a checkpoint holds."""
_RESULTS = {"lora": "adapter/adapter_model.safetensors", "full": "model/model.safetensors"}


@pytest.fixture(scope="module", params=["lora", "full"])
def method(request: pytest.FixtureRequest) -> str:
    """Each test runs with both methods."""
    return request.param


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of every run here."""
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl")


@pytest.fixture(scope="module")
def base(method: str, tiny_model: Callable[[str], Path]) -> Path:
    """The base model of every run of a method."""
    return tiny_model("gpt2" if method == "full" else "llama")


@pytest.fixture(scope="module")
def straight(method: str, rows: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that nothing disturbed."""
    return train(a_recipe(rows, base, method, tmp_path_factory.mktemp("straight"))).folder


@pytest.mark.parametrize(
    ("method", "stops"),
    [
        ("lora", [1, 3, 7]),
        ("full", [2, 3, 7]),
        *(pytest.param(method, [stop], marks=pytest.mark.slow) for method in ("lora", "full") for stop in (1, 4, 5, 8)),
        pytest.param("lora", [2, 3, 7], marks=pytest.mark.slow),
    ],
    indirect=["method"],
    ids=str,
)
def test_a_stopped_run_goes_on_as_if_it_had_not(
    stops: list[int], method: str, straight: RunFolder, rows: Path, base: Path, tmp_path: Path
) -> None:
    recipe = a_recipe(rows, base, method, tmp_path)
    folder = RunFolder(tmp_path / "made")
    with pytest.raises(Interrupted, match=f"after step {stops[0]} of {STEPS}"):
        train(recipe, listeners=[stopper(stops[0])])
    for stop in stops[1:]:
        with pytest.raises(Interrupted, match=f"after step {stop} of {STEPS}"):
            resume(folder, [stopper(stop)])
    assert folder.result is None
    resume(folder)
    assert result_bytes(folder, method) == result_bytes(straight, method)
    assert logged(folder) == logged(straight)
    assert evaluation_text(folder) == evaluation_text(straight)


@ONE_METHOD
def test_a_crash_between_checkpoints_goes_back_to_the_last_one(
    method: str, straight: RunFolder, rows: Path, base: Path, tmp_path: Path
) -> None:
    """No wish to stop is granted here: the process falls over in the middle of step 6; the checkpoint is of step 4."""
    recipe = a_recipe(rows, base, method, tmp_path)
    folder = RunFolder(tmp_path / "made")

    def crash(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 6:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        train(recipe, listeners=[crash])
    assert [path.name for path in sorted(folder.checkpoints.iterdir())][-1] == "step-000004"
    assert [line["step"] for line in steps(folder)] == [1, 2, 3, 4, 5, 6]
    resume(folder)
    assert result_bytes(folder, method) == result_bytes(straight, method)
    assert logged(folder) == logged(straight)


@ONE_METHOD
def test_a_damaged_checkpoint_is_passed_over(
    straight: RunFolder, rows: Path, base: Path, method: str, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "made")
    with pytest.raises(Interrupted):
        train(a_recipe(rows, base, method, tmp_path), listeners=[stopper(5)])
    assert sorted(path.name for path in folder.checkpoints.iterdir())[-2:] == ["step-000004", "step-000005"]
    truncate(folder.checkpoints / "step-000005" / "weights.safetensors")
    reported_now: list[Event] = []
    resume(folder, [reported_now.append])
    assert Note(f"Continuing from step 4 of {STEPS}.") in reported_now
    assert result_bytes(folder, method) == result_bytes(straight, method)
    assert logged(folder) == logged(straight)


@ONE_METHOD
def test_with_no_whole_checkpoint_the_run_begins_again(
    straight: RunFolder, rows: Path, base: Path, method: str, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "made")
    with pytest.raises(Interrupted):
        train(a_recipe(rows, base, method, tmp_path), listeners=[stopper(3)])
    for checkpoint in folder.checkpoints.iterdir():
        truncate(checkpoint / "random.safetensors")
    resume(folder)
    assert result_bytes(folder, method) == result_bytes(straight, method)
    assert logged(folder) == logged(straight)


def test_a_finished_run_is_not_resumed(straight: RunFolder) -> None:
    before = {path: path.stat().st_mtime_ns for path in straight.path.rglob("*")}
    with pytest.raises(InputError, match="is finished"):
        resume(straight)
    assert {path: path.stat().st_mtime_ns for path in straight.path.rglob("*")} == before


def test_the_straight_run_has_something_to_lose(straight: RunFolder, method: str) -> None:
    """The rows are shuffled again for a second epoch, the loss falls, and there are weights to compare."""
    lines = steps(straight)
    assert len(lines) == STEPS
    assert lines[-1]["epoch"] > 1
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert (straight.path / _RESULTS[method]).stat().st_size > 10_000


@ONE_METHOD
@pytest.mark.parametrize("before_the_end", [0, *(pytest.param(one, marks=pytest.mark.slow) for one in (2, 5))])
def test_early_stopping_takes_the_same_turn_after_a_stop(
    before_the_end: int, method: str, rows: Path, base: Path, tmp_path: Path
) -> None:
    """Far too fast: it gets worse after the first validations, stops early, and an early checkpoint is the result."""
    wild: dict[str, Any] = {
        "train__learning_rate": 0.3 if method == "lora" else 0.5,
        "train__schedule": "constant",
        "train__epochs": 6,
        "train__max_steps": 30,
        "train__patience": 3,
        "train__warmup": 0.6,
    }
    straight = train(a_recipe(rows, base, method, tmp_path / "straight", **wild)).folder
    last = steps(straight)[-1]["step"]
    assert 6 < last < 30
    finished = read_events(straight.events)[-1]
    assert finished["best_step"] <= last - 6, "three validations later it is over"
    assert_result_is_the_best(straight, finished["best_step"])
    with pytest.raises(Interrupted):
        train(a_recipe(rows, base, method, tmp_path / "stopped", **wild), listeners=[stopper(last - before_the_end)])
    folder = RunFolder(tmp_path / "stopped" / "made")
    resume(folder)
    assert logged(folder) == logged(straight)
    assert result_bytes(folder, method) == result_bytes(straight, method)
    assert evaluation_text(folder) == evaluation_text(straight)


@ONE_METHOD
def test_the_best_and_what_was_said_are_those_of_a_run_that_never_stopped(
    method: str, base: Path, tmp_path: Path
) -> None:
    """Answers that can only be guessed: the loss goes up and down, and a diagnosis is made."""
    source = random.Random(1)
    for name, count in (("train", 120), ("valid", 30)):
        lines = [{"prompt": f"{name} {n}?", "completion": source.choice("abcdefgh")} for n in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    given: dict[str, Any] = {
        "data__validation": str(tmp_path / "valid.jsonl"),
        "train__epochs": 30,
        "train__max_steps": 40,
        "train__learning_rate": 1e-2 if method == "lora" else 2e-3,
        "train__schedule": "constant",
        "batch__tokens": 512,
        "batch__rows": 8,
        "train__early_stopping": False,
        "evaluate__every": 4,
        "evaluate__answers": 0,
        "save__keep": 1,
    }
    rows = tmp_path / "train.jsonl"
    straight = train(a_recipe(rows, base, method, tmp_path / "straight", **given)).folder
    validations = [line for line in read_events(straight.metrics) if line["event"] == "Validated"][1:]
    assert 0 < sum(line["is_best"] for line in validations) < len(validations)
    with pytest.raises(Interrupted):
        train(a_recipe(rows, base, method, tmp_path / "stopped", **given), listeners=[stopper(22)])
    folder = RunFolder(tmp_path / "stopped" / "made")
    resume(folder)
    assert logged(folder) == logged(straight)
    assert said(folder) == said(straight) != []
    assert result_bytes(folder, method) == result_bytes(straight, method)


def a_recipe(rows: Path, base: Path, method: str, runs: Path, **options: Any) -> Recipe:
    """Nine steps over two epochs and a bit, with dropout where the method has any."""
    dropout = {"lora__dropout": 0.3} if method == "lora" else {}
    given: dict[str, Any] = {
        "name": "made",
        "data__test": "none",
        "method": method,
        "train__max_steps": STEPS,
        "train__learning_rate": 1e-2,
        "batch__tokens": 300,
        "batch__rows": 2,
        "evaluate__every": 2,
        "evaluate__max_new_tokens": 4,
        "save__every": 4,
        "save__keep": 2,
    }
    return make_recipe(rows, base, runs, **{**given, **dropout, **options})


def assert_result_is_the_best(folder: RunFolder, best: int) -> None:
    """The adapter or model holds the weights of that step's checkpoint, and the evaluation evaluated those."""
    assert folder.result is not None
    (file,) = folder.result.glob("*.safetensors")
    result = load_file(file)
    kept = load_file(folder.checkpoints / f"step-{best:06d}" / "weights.safetensors")
    assert len(result) == len(kept)
    assert all(torch.equal(result[name.replace(".default", "")], weight) for name, weight in kept.items())
    losses = {line["step"]: line["loss"] for line in read_events(folder.metrics) if line["event"] == "Validated"}
    (evaluated_loss,) = [
        f["tuned"]["value"] for f in json.loads(evaluation_text(folder))["figures"] if f["name"] == "loss"
    ]
    assert losses[best] == min(loss for step, loss in losses.items() if step)
    assert evaluated_loss == pytest.approx(losses[best], rel=1e-5)


def truncate(file: Path) -> None:
    """Half of it is lost."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def stopper(step: int) -> Callable[[Event], None]:
    """Sends this process SIGTERM when a step is done."""

    def listen(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return listen


def steps(folder: RunFolder) -> list[dict[str, Any]]:
    """The lines of the steps."""
    return [line for line in read_events(folder.metrics) if line["event"] == "StepDone"]


def said(folder: RunFolder) -> list[dict[str, Any]]:
    """The findings, without what the clock says."""
    found = [line for line in read_events(folder.events) if line["event"] in ("Diagnosed", "Spiked")]
    return [{key: value for key, value in line.items() if key != "time"} for line in found]


def logged(folder: RunFolder) -> list[dict[str, Any]]:
    """Every line of the metrics, in order, without what the clock says."""
    clock = {"seconds", "seconds_left", "time"}
    return [{key: value for key, value in line.items() if key not in clock} for line in read_events(folder.metrics)]


def evaluation_text(folder: RunFolder) -> str:
    """The evaluation, byte for byte."""
    return folder.evaluation.read_text(encoding="utf-8")


def result_bytes(folder: RunFolder, method: str) -> bytes:
    """The trained weights, byte for byte."""
    return (folder.path / _RESULTS[method]).read_bytes()
