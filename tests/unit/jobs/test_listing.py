"""What a page shows of jobs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from burnish.jobs.listing import curves, decimated, list_jobs
from burnish.jobs.queue import Queue
from burnish.runs.folder import RunFolder
from tests.unit.jobs.fake_children import FakeChildren, begin_run, finish_run
from tests.unit.jobs.test_course import step, validation, write


def test_jobs_are_listed_with_their_progress(tmp_path: Path) -> None:
    children = FakeChildren()
    queue = Queue(tmp_path, children=children)
    first, second = (queue.create({"data.path": "x"}, [], {"suffix": name}).id for name in "ab")
    queue.tick()
    run = queue.folder_of(first).run
    begin_run(queue.folder_of(first))
    write(run.metrics, step(1, 5.0, left=20.0), validation(1, 6.0), step(2, 7.0, left=10.0))
    newest, oldest = list_jobs(queue)
    assert (oldest["id"], oldest["state"], oldest["step"], oldest["total_steps"]) == (first, "running", 2, 4)
    assert (oldest["training_loss"], oldest["validation_loss"], oldest["ends"]) == (0.5, 2.0, 17.0)
    assert (newest["id"], newest["state"], newest["step"], newest["details"]) == (second, "queued", 0, {"suffix": "b"})
    finish_run(queue.folder_of(first))
    children.end(min(children.alive), {})
    queue.tick()
    oldest = list_jobs(queue)[1]
    assert (oldest["state"], oldest["best_step"], oldest["said"]) == ("succeeded", 2, "The job has succeeded.")
    assert json.loads(json.dumps(list_jobs(queue))) == list_jobs(queue)
    queue.close()


def test_curves_have_a_bounded_number_of_points(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    write(run.metrics, validation(0, 0.0), *(step(number, number) for number in range(1, 1002)))
    write(run.metrics, {**step(1002, 1002), "loss": None})
    found = curves(run, 5)
    assert found["validation loss"] == [(0, 2.0)]
    assert found["accuracy"] == [(0, 0.5)]
    assert [number for number, _ in found["training loss"]] == [1, 251, 501, 751, 1001]
    assert [number for number, _ in found["learning rate"]] == pytest.approx([1, 251, 501, 752, 1002], abs=1)


def test_long_curves_are_thinned_evenly() -> None:
    assert decimated(range(5), 10) == [0, 1, 2, 3, 4]
    assert decimated(range(1001), 5) == [0, 250, 500, 750, 1000]
