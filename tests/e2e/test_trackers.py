"""Each tracker, read back by its own library beside the run's own log; and what happens if one fails."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import signal
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import burnish
from burnish.errors import Interrupted, MachineError
from burnish.runs.events import Event, StepDone, Warned
from burnish.trackers import check_trackers
from burnish.trackers.tracker import TrackedRun, Tracking
from burnish.trackers.wandb import PROJECT

Points = dict[int, float]
SET = {"batch.tokens": 256, "evaluate.answers": 0, "evaluate.every": 2, "save.every": 1, "evaluate.general": "none"}


def of_tensorboard(run: Path) -> dict[str, Points]:
    """Scalars by tag, as TensorBoard's own reader has them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(run / "tracking" / "tensorboard"))
    found.Reload()
    return {tag: {one.step: one.value for one in found.Scalars(tag)} for tag in found.Tags()["scalars"]}


def of_wandb(run: Path) -> dict[str, Points]:
    """The history in the offline files, in wandb's own messages; the frames around them are those of LevelDB's log."""
    from wandb.proto.wandb_internal_pb2 import Record

    points: dict[str, Points] = {}
    for file in sorted((run.parent / "wandb").glob("offline-run-*/*.wandb")):
        for data in frames(file.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            row = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
            for name, value in row.items():
                points.setdefault(name, {})[row["step"]] = value
    return points


def frames(content: bytes) -> Iterator[bytes]:
    """The messages of a log of 32-KiB blocks, in which a message may have several parts."""
    assert content[:4] == b":W&B"
    place, parts = 7, b""
    while place + 7 <= len(content):
        if 2**15 - place % 2**15 < 7:  # the rest of a block
            place += 2**15 - place % 2**15
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def of_mlflow(run: Path) -> dict[str, Points]:
    """The history in the SQLite file, as MLflow's own client has it; there is one run."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{run.parent / 'mlflow.db'}")
    (one,) = client.search_runs([client.get_experiment_by_name(PROJECT).experiment_id])
    assert (one.info.run_name, one.info.status, one.data.params["method"]) == (run.name, "FINISHED", "lora")
    return {
        name: {metric.step: metric.value for metric in client.get_metric_history(one.info.run_id, name)}
        for name in one.data.metrics
    }


def of_trackio(run: Path) -> dict[str, Points]:
    """The rows in its file, as Trackio's own storage has them."""
    from trackio.sqlite_storage import SQLiteStorage

    points: dict[str, Points] = {}
    for row in SQLiteStorage.get_logs(PROJECT, run.name):
        for name, value in row.items():
            if isinstance(value, (int, float)) and name != "step":
                points.setdefault(name, {})[row["step"]] = value
    return points


READERS: dict[str, Callable[[Path], dict[str, Points]]] = {
    "tensorboard": of_tensorboard,
    "wandb": of_wandb,
    "mlflow": of_mlflow,
    "trackio": of_trackio,
}


def stop_at_two(event: Event) -> None:
    """Ctrl-C after the second step."""
    if isinstance(event, StepDone) and event.step == 2:
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_tracker_keeps_what_the_log_has(
    name: str, base: Path, rows_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also after the run was stopped and resumed; and nothing is printed."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    run = tmp_path / "runs" / "mine"
    options: dict[str, Any] = {
        "model": base,
        "runs": tmp_path / "runs",
        "max_steps": 4,
        "device": "cpu",
        "name": "mine",
    }
    with pytest.raises(Interrupted):
        burnish.train(rows_file, method="lora", track=[name], set=SET, listeners=[stop_at_two], **options)
    burnish.resume(run)
    assert capsys.readouterr().out == ""
    points = READERS[name](run)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    steps = {line["step"]: line["loss"] for line in lines if line["event"] == "StepDone"}
    validations = {line["step"]: line["loss"] for line in lines if line["event"] == "Validated"}
    assert points["train/loss"] == pytest.approx(steps, rel=1e-6)
    assert sorted(steps) == [1, 2, 3, 4]
    assert points["validation/loss"] == pytest.approx(validations, rel=1e-6)
    evaluation = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    assert points["test/tuned/loss"] == pytest.approx({4: evaluation["figures"][0]["tuned"]["value"]}, rel=1e-6)


class Broken:
    """Fails when it is given the third set of figures."""

    name = "broken"

    def __init__(self) -> None:
        self.steps: list[int] = []

    def begin(self, run: TrackedRun, step: int) -> None:
        """Nothing to open."""

    def log(self, step: int, figures: dict[str, float]) -> None:
        """Keeps the step."""
        assert all(map(math.isfinite, figures.values()))
        if len(self.steps) == 2:
            raise OSError("the disk is full")
        self.steps.append(step)

    def end(self) -> None:
        """Never called after a failure."""
        raise AssertionError


def test_a_tracker_that_fails_is_left_out_and_named_once(tmp_path: Path) -> None:
    broken, events = Broken(), list[Event]()
    run = TrackedRun("mine", tmp_path / "mine", tmp_path, {"method": "lora", "name": None})
    tracking = Tracking(broken, run, events.append)
    for step in range(1, 6):
        tracking(StepDone(step, 5, 0.5, float("nan"), 1e-4, float("inf"), 10, 5, 0.1, 0.2))
    tracking.close()
    assert broken.steps == [1, 2]
    assert [type(event) for event in events] == [Warned]
    assert "the disk is full" in str(events[0])
    assert run.texts() == {"method": "lora"}


def test_a_missing_package_is_named_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match=r"`track: \[wandb\]` needs the package wandb"):
        check_trackers(["wandb"])
