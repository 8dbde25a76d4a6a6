"""Killed with SIGKILL, whenever it may be, and resumed = never killed: adapter bytes and metrics."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from burnish.runs.event_log import read_events
from burnish.runs.folder import RunFolder
from burnish.workflows.train import train
from tests.tiny_data import make_recipe, write_rows

STEPS = 60
_ROOT = Path(__file__).parents[2]
_PATIENCE_SECONDS = 60
_OPTIONS: dict[str, Any] = {
    "train.max_steps": STEPS,
    "train.epochs": 100,
    "train.early_stopping": False,
    "lora.dropout": 0.2,
    "batch.tokens": 300,
    "batch.rows": 2,
    "evaluate.every": 25,
    "evaluate.answers": 0,
    "evaluate.general": "none",
    "save.every": 5,
    "save.keep": 2,
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of every run here."""
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl")


@pytest.fixture(scope="module")
def straight(rows: Path, tiny_model: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of the same recipe that nobody killed, in this process."""
    options = {name.replace(".", "__"): value for name, value in _OPTIONS.items()}
    runs = tmp_path_factory.mktemp("straight")
    return train(make_recipe(rows, tiny_model("llama"), runs, name="made", **options)).folder


@pytest.mark.slow
def test_killed_at_random_steps(
    rows: Path, straight: RunFolder, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    seed = random.randrange(10**6)
    source = random.Random(seed)
    moments = sorted(source.sample(range(1, STEPS - 40), 2))
    print(f"killed after steps {moments} (seed {seed})")
    folder = RunFolder(tmp_path / "made")
    command = train_command(rows, tiny_model("llama"), tmp_path)
    for moment in moments:
        child = start(command, tmp_path)
        wait_until(child, lambda least=moment: steps_reported(folder) >= least)
        time.sleep(source.random() * 0.02)
        kill(child)
        assert folder.result is None, "it was too quick to be killed"
        command = ["resume", str(folder.path)]
    finish(command, tmp_path)
    assert_same(folder, straight)


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """A folder in which writing takes as long as for users, and not one in memory: a checkpoint is to be caught."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.slow  # `tests/e2e/test_attack.py` kills before and after every write
def test_killed_while_a_checkpoint_is_being_written(
    rows: Path, straight: RunFolder, tiny_model: Callable[[str], Path], on_disk: Path
) -> None:
    """The child is stopped to look, and killed only where a half-written checkpoint is seen."""
    folder = RunFolder(on_disk / "made")
    child = start(train_command(rows, tiny_model("llama"), on_disk), on_disk)
    wait_until(child, lambda: steps_reported(folder) >= 12)
    wait_until(child, lambda: half_written(folder) and is_caught(child, folder), pause=0.0)
    assert half_written(folder)
    kill(child)
    assert half_written(folder)
    newest = max(folder.checkpoints.glob("step-*"))
    damaged = newest / "optimizer.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    finish(["resume", str(folder.path)], on_disk)
    going_on = [
        line["text"] for line in read_events(folder.events) if line.get("text", "").startswith("Continuing from")
    ]
    assert going_on == [f"Continuing from step {int(newest.name[5:]) - 5} of {STEPS}."]
    assert_same(folder, straight)
    assert not half_written(folder)


@pytest.mark.slow
def test_killed_before_its_recipe_is_written(
    rows: Path, straight: RunFolder, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    """There is nothing to continue yet, and the same command takes the name again."""
    folder, command = RunFolder(tmp_path / "made"), train_command(rows, tiny_model("llama"), tmp_path)
    child = start(command, tmp_path)
    wait_until(child, folder.events.exists, pause=0.0)
    kill(child)
    assert not folder.recipe.exists()
    assert start(["resume", str(folder.path)], tmp_path).wait(_PATIENCE_SECONDS) == 2
    finish(command, tmp_path)
    assert_same(folder, straight)


@pytest.mark.slow
def test_killed_between_evaluation_and_report(
    rows: Path, straight: RunFolder, tiny_model: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "made")
    child = start(train_command(rows, tiny_model("llama"), tmp_path), tmp_path)
    wait_until(child, folder.evaluation.exists, pause=0.0)
    kill(child)
    assert not folder.report.exists()
    finish(["resume", str(folder.path)], tmp_path)
    assert_same(folder, straight)
    assert folder.report.is_file()
    assert (folder.adapter / "README.md").is_file()


def assert_same(folder: RunFolder, straight: RunFolder) -> None:
    """Same adapter, byte for byte, and the same story, without what the clock says."""
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (folder.adapter / name).read_bytes() == (straight.adapter / name).read_bytes()
    assert logged(folder) == logged(straight)
    assert json.loads(folder.evaluation.read_text()) == json.loads(straight.evaluation.read_text())


def logged(folder: RunFolder) -> list[dict[str, Any]]:
    """Every line of the metrics without its times."""
    return [
        {k: v for k, v in line.items() if k not in {"seconds", "seconds_left", "time"}}
        for line in read_events(folder.metrics)
    ]


def steps_reported(folder: RunFolder) -> int:
    """The last step in the metrics; 0 while there is none."""
    return max((line["step"] for line in read_events(folder.metrics)), default=0)


def half_written(folder: RunFolder) -> list[str]:
    """Temporary folders among the checkpoints."""
    return [name for name in os.listdir(folder.checkpoints) if name.startswith(".writing-step-")]  # noqa: PTH208  quick


def is_caught(child: subprocess.Popen[bytes], folder: RunFolder) -> bool:
    """Stops the child; lets it run on unless a checkpoint is half-written even now."""
    os.kill(child.pid, signal.SIGSTOP)
    time.sleep(0.01)
    caught = bool(half_written(folder))
    if not caught:
        os.kill(child.pid, signal.SIGCONT)
    return caught


def train_command(rows: Path, base: Path, runs: Path) -> list[str]:
    """The words of `burnish train` for the recipe of this file."""
    given = {**_OPTIONS, "model.device": "cpu", "model.precision": "fp32"}
    sets = [word for name, value in given.items() for word in ("--set", f"{name}={json.dumps(value)}")]
    return ["train", str(rows), "--model", str(base), "--runs", str(runs), "--name", "made", *sets]


def start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """A child that runs `burnish` with these words."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "CUDA_VISIBLE_DEVICES": ""}
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "burnish", *command], cwd=folder, env=environment, stdout=output, stderr=output
        )


def wait_until(child: subprocess.Popen[bytes], reached: Callable[[], Any], pause: float = 0.005) -> None:
    """Waits for the child to get somewhere, while it lives."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not reached():
        assert child.poll() is None, "the child ended before it could be killed"
        assert time.monotonic() < deadline, "the child is stuck"
        time.sleep(pause)


def kill(child: subprocess.Popen[bytes]) -> None:
    """SIGKILL: no handler, no clean-up."""
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


def finish(command: list[str], folder: Path) -> None:
    """Runs to the end."""
    child = start(command, folder)
    assert child.wait(_PATIENCE_SECONDS) == 0, (folder / "output.txt").read_text()[-2000:]
