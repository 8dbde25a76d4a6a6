"""Ten steps with compiled blocks are ten steps without; and a run that is stopped compiles its blocks again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.errors import Interrupted
from burnish.recipe.load import recipe_from_saved
from burnish.runs.events import Event, Note, Stage, StepDone, Warned
from burnish.runs.folder import RunFolder
from burnish.workflows.resume import resume
from burnish.workflows.train import train
from tests.numeric.test_resume import logged, result_bytes, stopper
from tests.tiny_data import make_recipe, write_rows

STEPS = 10
TOLERANCE = 1e-5
"""Relative, of loss and norm at each step."""
RATES = {"full": 1e-3, "lora": 1e-2}


@pytest.fixture(autouse=True)
def _in_one_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The compiler starts no processes of its own, and leaves nothing behind for other tests."""
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    yield
    torch.compiler.reset()


def options(method: str) -> dict[str, Any]:
    """Ten steps, without anything that the losses do not need."""
    return {
        "name": "made",
        "method": method,
        "train__learning_rate": RATES[method],
        "train__max_steps": STEPS,
        "train__epochs": STEPS,
        "evaluate__every": STEPS,
        "evaluate__answers": 0,
        "batch__tokens": 300,
        "batch__rows": 1,
    }


def run(layout: Path, runs: Path, method: str, compiled: bool, *listeners: Any) -> tuple[RunFolder, list[StepDone]]:
    """A run on the rows beside the folder of runs, and its steps."""
    events: list[Event] = []
    dropout = {"lora__dropout": 0.3, "lora__targets": ["v_proj"]} if method == "lora" else {}
    recipe = make_recipe(
        runs.parent / "rows.jsonl", layout, runs, model__compile=compiled, **options(method), **dropout
    )
    made = train(recipe, listeners=[events.append, *listeners])
    assert not any(isinstance(event, Warned) for event in events), events
    return made.folder, [event for event in events if isinstance(event, StepDone)]


def assert_same(ours: list[StepDone], theirs: list[StepDone]) -> None:
    """Step by step; and something was learned, and something was computed another way."""
    assert len(ours) == STEPS
    for one, two in zip(ours, theirs, strict=True):
        assert one.loss == pytest.approx(two.loss, rel=TOLERANCE)
        assert one.gradient_norm == pytest.approx(two.gradient_norm, rel=TOLERANCE)
    assert theirs[-1].loss < 0.95 * theirs[0].loss, "a run that learns nothing compares nothing"
    assert any(one.gradient_norm != two.gradient_norm for one, two in zip(ours, theirs, strict=True)), (
        "the same arithmetic was used twice"
    )


@pytest.mark.slow
def test_full_training(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl")
    model = tiny_model("gpt2")
    _, ours = run(model, tmp_path / "compiled", "full", True)
    _, theirs = run(model, tmp_path / "plain", "full", False)
    assert_same(ours, theirs)


@pytest.mark.slow
def test_adapters_with_dropout_and_a_run_that_goes_on(tiny_model: Callable[[str], Path], tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.jsonl")
    model = tiny_model("llama")
    straight, ours = run(model, tmp_path / "compiled", "lora", True)
    _, theirs = run(model, tmp_path / "plain", "lora", False)
    assert_same(ours, theirs)

    with pytest.raises(Interrupted):
        run(model, tmp_path / "stopped", "lora", True, stopper(4))
    stopped, events = RunFolder(tmp_path / "stopped" / "made"), list[Event]()
    assert recipe_from_saved(stopped.recipe).model.compile is True
    resume(stopped, [events.append])
    assert Stage("compiling the blocks") in events
    assert Note(f"Continuing from step 4 of {STEPS}.") in events
    assert result_bytes(stopped, "lora") == result_bytes(straight, "lora")
    assert logged(stopped) == logged(straight)
