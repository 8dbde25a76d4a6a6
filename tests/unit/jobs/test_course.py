"""How far a run is, what happened to it, and when others start: from logs as they grow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from burnish.jobs.course import Course, Watch
from burnish.jobs.job import Job, JobFolder
from burnish.jobs.story import checkpoints_of, metrics_table, story_of
from burnish.jobs.waiting import Waiting, needed_bytes, planned_seconds, starts
from burnish.runs.folder import RunFolder


def step(number: int, time: float, left: float = 10.0) -> dict[str, Any]:
    """An event of a step."""
    event = {"event": "StepDone", "step": number, "total_steps": 4, "epoch": 0.5, "loss": 1 / number, "tokens": 7}
    more = {"learning_rate": 0.1, "gradient_norm": 1.0, "trained_tokens": 3, "seconds": 1.0, "seconds_left": left}
    return {**event, **more, "time": time}


def validation(number: int, time: float) -> dict[str, Any]:
    """An event of a validation."""
    figures = {"accuracy": 0.5}
    event = {"event": "Validated", "step": number, "loss": 2.0, "figures": figures, "is_best": True, "seconds": 1.0}
    return {**event, "time": time}


def write(path: Path, *events: dict[str, Any], rest: str = "") -> None:
    """Adds events to a log."""
    with path.open("a") as log:
        log.write("".join(json.dumps(event) + "\n" for event in events) + rest)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "ftjob-1")
    run.path.mkdir()
    return run


def test_a_log_is_read_on(run: RunFolder) -> None:
    watch = Watch(run)
    assert watch.read() == Course()
    write(run.events, {"event": "MemoryPredicted", "resident": 5, "room": 9, "time": 1.0})
    plan = {"event": "TimePlanned", "seconds": 40.0, "tokens_per_second": 1.0, "evaluation": 3.0, "time": 2.0}
    write(run.events, {"event": "Stage", "name": "loading the model", "time": 1.0}, plan)
    found = watch.read()
    assert (found.peak, found.ends, found.stage, found.step) == (5, 45.0, "loading the model", 0)
    write(run.metrics, step(1, 10.0), rest=json.dumps(step(2, 11.0))[:30])
    found = watch.read()
    assert (found.step, found.total_steps, found.loss, found.ends, found.tokens) == (1, 4, 1.0, 23.0, 7)
    write(run.metrics, rest=json.dumps(step(2, 11.0))[30:] + "\n")
    assert (watch.read().step, watch.read().tokens) == (2, 14)
    write(run.events, {"event": "Finished", "best_step": 2, "time": 30.0})
    found = watch.read()
    assert (found.finished, found.best_step) == (30.0, 2)


def test_a_log_that_was_cut_is_read_again(run: RunFolder) -> None:
    watch = Watch(run)
    write(run.metrics, step(1, 1.0), step(2, 2.0), step(3, 3.0))
    assert watch.read().tokens == 21
    other = run.path / "other"
    write(other, step(1, 1.0))
    other.replace(run.metrics)  # as a resumed run drops the steps that it does again
    assert (watch.read().step, watch.read().tokens) == (1, 7)
    run.metrics.write_text("")
    assert watch.read() == Course()


def test_what_is_no_event_is_passed_over(run: RunFolder) -> None:
    write(run.metrics, step(1, 1.0), {"event": "StepDone"}, rest="broken\n")
    write(run.metrics, step(2, 2.0))
    assert Watch(run).read().step == 2


def test_the_story_is_in_the_order_of_time(run: RunFolder, tmp_path: Path) -> None:
    job = Job("ftjob-1", 1.0, {}).saying("info", "begun")
    job = Job(job.id, job.created, {}, said=[{**job.said[0], "time": 1.0}])
    finding = {"count": 2, "what": "rows without an answer", "places": ["a.jsonl:3"]}
    diagnosed = {"event": "Diagnosed", "step": 1, "name": "learning", "evidence": "it fell", "advice": "", "time": 4.5}
    write(run.events, {"event": "DataChecked", "rows": 2, "findings": [finding], "time": 2.0}, diagnosed)
    write(run.events, {"event": "MemoryPredicted", "resident": 5, "room": 9, "time": 2.0})
    write(run.metrics, step(1, 4.0), validation(1, 5.0))
    story = story_of(job, JobFolder(tmp_path, run))
    assert [(entry.time, entry.level, entry.is_metric) for entry in story] == [
        (1.0, "info", False),
        (2.0, "warn", False),
        (4.0, "info", True),
        (4.5, "info", False),
        (5.0, "info", True),
    ]
    assert story[1].text == "2 × rows without an answer (a.jsonl:3)."
    assert story[2].data["train_loss"] == 1.0
    assert story[4].data == {"step": 1, "full_valid_loss": 2.0, "accuracy": 0.5}
    ids = [entry.id for entry in story]
    write(run.metrics, step(2, 6.0))
    assert [entry.id for entry in story_of(job, JobFolder(tmp_path, run))][:-1] == ids, "pages stay where they are"


def test_checkpoints_are_those_that_the_run_still_has(run: RunFolder) -> None:
    for number in (2, 3):
        (run.checkpoints / f"step-{number:06d}").mkdir(parents=True)
    for number in (1, 2, 3):
        write(run.events, {"event": "CheckpointSaved", "step": number, "path": "x", "bytes": 1, "time": number + 0.5})
        write(run.metrics, step(number, number))
    write(run.metrics, validation(3, 3.1))
    found = [(one.id, one.step, one.time, one.loss, one.validation_loss) for one in checkpoints_of(run)]
    assert found == [("ftckpt-1-2", 2, 2.5, 0.5, None), ("ftckpt-1-3", 3, 3.5, 1 / 3, 2.0)]


def test_the_table_has_a_line_per_step(run: RunFolder) -> None:
    write(run.metrics, validation(0, 0.5), step(1, 1.0), step(2, 2.0), validation(2, 2.5))
    assert metrics_table(run).decode().splitlines() == [
        "step,epoch,train_loss,learning_rate,gradient_norm,tokens,trained_tokens,seconds,full_valid_loss,accuracy",
        "0,,,,,,,,2.0,0.5",
        "1,0.5,1.0,0.1,1.0,7,3,1.0,,",
        "2,0.5,0.5,0.1,1.0,7,3,1.0,2.0,0.5",
    ]


@pytest.mark.parametrize(
    ("seconds", "ends", "at_once", "expected"),
    [
        ([5.0, 5.0], [110.0], 1, [110.0, 115.0]),
        ([5.0, 5.0], [90.0], 1, [100.0, 105.0]),  # late already
        ([5.0, 5.0], [None], 1, [None, None]),
        ([None, 5.0], [110.0], 1, [110.0, None]),
        ([5.0, 5.0, 5.0], [110.0, 120.0], 2, [110.0, 115.0, 120.0]),
        ([5.0, 5.0], [110.0, None], 2, [110.0, 115.0]),
        ([5.0], [], 1, [100.0]),
    ],
)
def test_when_jobs_start(
    seconds: list[float | None], ends: list[float | None], at_once: int, expected: list[float | None]
) -> None:
    queue = [Waiting(str(number), value) for number, value in enumerate(seconds)]
    assert list(starts(queue, ends, at_once, 100.0).values()) == expected


def test_a_plan_that_says_nothing_is_no_plan(tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    for text in ("", "{", "[]", '{"error": {"what": "no"}}', '{"run": null, "peak": null}'):
        plan.write_text(text)
        assert (planned_seconds(plan), needed_bytes(plan)) == (None, None)
