"""Who has its turn, what becomes of a job, and what a queue that is opened again finds."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from burnish.errors import InputError
from burnish.jobs import queue as queue_module
from burnish.jobs.children import Child, Children, find_child
from burnish.jobs.files import ROWS
from burnish.jobs.job import Job
from burnish.jobs.queue import MissingJob, Queue, Viewed, WrongState
from burnish.system.processes import start_of
from burnish.version import __version__
from tests.unit.jobs.fake_children import FakeChildren, begin_run, finish_run


class Place:
    """A queue that can be opened again, with the same processes around it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.children = folder, FakeChildren()
        self.queue = Queue(folder, children=self.children)

    def reopen(self, at_once: int = 1) -> Queue:
        """As after a kill: another process takes the folder."""
        self.queue.close()
        self.queue = Queue(self.folder, at_once, children=self.children)
        return self.queue

    def create(self) -> str:
        """A job, at its turn if there is one."""
        job = self.queue.create({"data.path": "rows.jsonl", "train.max_steps": 2}, [], {"model": "m"})
        self.queue.tick()
        return job.id

    def state(self, job: str) -> str:
        """Of a job, as of now."""
        self.queue.tick()
        return self.queue.view(job).state

    def number(self, job: str) -> int:
        """Of its process."""
        child = self.queue.view(job).job.process
        assert child is not None
        return child.process

    def said(self, job: str) -> list[str]:
        """What the queue has said of a job."""
        return [one["text"] for one in self.queue.view(job).job.said]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "jobs")
    yield place
    place.queue.close()


def test_one_at_a_time_in_the_order_of_their_coming(place: Place) -> None:
    jobs = [place.create() for _ in range(3)]
    recipes = [str(place.queue.folder_of(job).recipe) for job in jobs]
    assert [place.state(job) for job in jobs] == ["running", "queued", "queued"]
    trains = [words for words in place.children.begun if words[0] == "train"]
    assert trains == [["train", recipes[0], "--json"]]
    finish_run(place.queue.folder_of(jobs[0]))
    assert place.state(jobs[0]) == "running", "until its process has ended"
    place.children.end(place.number(jobs[0]), {})
    assert [place.state(job) for job in jobs] == ["succeeded", "running", "queued"]
    assert [words[1] for words in place.children.begun if words[0] == "train"] == recipes[:2]


def test_the_recipe_is_what_was_asked_for_and_a_place(place: Place) -> None:
    job = place.create()
    from burnish.recipe.load import load_recipe

    recipe = load_recipe(str(place.queue.folder_of(job).recipe), {}, []).recipe
    assert (recipe.name, recipe.runs, recipe.train.max_steps) == (job, str(place.queue.runs), 2)


def test_a_paused_job_goes_on_where_it_stopped(place: Place) -> None:
    job = place.create()
    number = place.number(job)
    begin_run(place.queue.folder_of(job))
    place.queue.pause(job)
    assert place.children.stopped == [(number, False)]
    assert place.state(job) == "running", "it saves its state"
    with pytest.raises(WrongState, match="it is running"):
        place.queue.remove_run(job)
    place.children.end(number, {"error": {"what": "stopped", "exit_code": 130}})
    assert place.state(job) == "paused"
    other = place.create()
    assert place.state(other) == "running", "its place is free"
    place.queue.resume(job)
    assert place.state(job) == "queued"
    place.children.end(place.number(other))
    assert place.state(job) == "running"
    assert place.children.begun[-1] == ["resume", str(place.queue.runs / job), "--json"]


def test_a_job_that_is_resumed_while_it_stops_goes_on(place: Place) -> None:
    job = place.create()
    place.queue.pause(job)
    place.queue.resume(job)
    assert place.state(job) == "running"
    place.children.end(place.number(job), {"error": {"what": "stopped", "exit_code": 130}})
    assert place.state(job) == "running"
    assert [words[0] for words in place.children.begun] == ["train", "train"], "its run had not begun"


def test_a_job_may_be_paused_while_it_waits(place: Place) -> None:
    place.create()
    job = place.create()
    assert place.queue.pause(job).state == "paused"
    with pytest.raises(WrongState, match=r"cannot be paused: it is paused"):
        place.queue.pause(job)
    assert place.queue.resume(job).state == "queued"
    assert place.queue.cancel(job).state == "cancelled"
    for wrong in (place.queue.resume, place.queue.cancel, place.queue.pause):
        with pytest.raises(WrongState, match="it is cancelled"):
            wrong(job)


def test_a_failure_is_in_the_words_of_the_command(place: Place) -> None:
    job = place.create()
    error = {"what": "the disk is full", "why": "No space.", "fix": "Free some", "exit_code": 3}
    place.children.end(place.number(job), {"error": error})
    assert place.state(job) == "failed"
    assert place.said(job)[-1] == "The disk is full. No space. Free some."
    assert place.queue.resume(job).state == "queued"
    assert place.state(job) == "running"


@pytest.mark.parametrize("said", [None, {"error": {"what": "stopped", "why": "", "fix": "", "exit_code": 130}}])
def test_a_job_whose_process_was_ended_waits_to_be_resumed(place: Place, said: dict[str, Any] | None) -> None:
    job = place.create()
    place.children.end(place.number(job), said)
    assert place.queue.view(job).state == "interrupted"
    assert "Resume it" in place.said(job)[-1]
    before = len(place.said(job))
    place.queue.tick()
    assert len(place.said(job)) == before, "said once"


def test_a_cancelled_job_that_does_not_end_is_ended(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    job = place.create()
    number = place.number(job)
    place.queue.cancel(job)
    place.queue.tick()
    assert place.children.stopped == [(number, False)]
    monkeypatch.setattr(queue_module, "_PATIENCE_SECONDS", -1.0)
    place.queue.tick()
    assert place.children.stopped[-1] == (number, True)
    place.children.end(number)
    assert place.state(job) == "cancelled"


def test_what_goes_on_is_found_again(place: Place) -> None:
    running, waiting = place.create(), place.create()
    paused = place.create()
    place.queue.pause(paused)
    number = place.number(running)
    place.reopen()
    assert [place.state(job) for job in (running, waiting, paused)] == ["running", "queued", "paused"]
    assert place.number(running) == number
    finish_run(place.queue.folder_of(running))
    place.queue.close()
    place.children.end(number, {})  # while no queue is open
    place.queue = Queue(place.folder, children=place.children)
    assert [place.state(job) for job in (running, waiting)] == ["succeeded", "running"]


def test_a_kill_between_a_record_and_its_process(place: Place) -> None:
    """A job says that it is being started before it is; whoever finds that searches for the process."""
    job, other = place.create(), place.create()
    folder = place.queue.folder_of(job)
    found = json.loads(folder.record.read_text())
    folder.record.write_text(json.dumps({**found, "child": {}}))
    place.children.alive.clear()
    assert place.reopen().view(job).state == "interrupted"
    folder = place.queue.folder_of(other)
    found = json.loads(folder.record.read_text())
    folder.record.write_text(json.dumps({**found, "child": {}, "is_queued": False}))
    with subprocess.Popen([sys.executable, "-c", "input()", str(folder.recipe)], stdin=subprocess.PIPE) as process:
        end = time.monotonic() + 30
        while find_child(str(folder.recipe)) is None:  # it has its words a moment after it has begun
            assert time.monotonic() < end
        child = place.reopen().folder_of(other).read().child
        assert child == {"process": process.pid, "started": start_of(process.pid)}
        process.kill()


def test_a_job_says_that_it_is_being_started_before_it_is(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object, **__: object) -> Child:
        raise OSError("no more processes")

    monkeypatch.setattr(place.children, "start", die)
    job = place.queue.create({"data.path": "rows.jsonl"}, [], {}).id
    with pytest.raises(OSError, match="no more"):
        place.queue.tick()
    found = place.queue.folder_of(job).read()
    assert (found.child, found.is_queued) == ({}, False)


@pytest.mark.parametrize("wanted", ["pause", "cancel"])
def test_a_kill_between_a_wish_and_its_signal(place: Place, wanted: str) -> None:
    job = place.create()
    folder = place.queue.folder_of(job)
    folder.write(replace(folder.read(), wanted=wanted))
    place.reopen().tick()
    place.queue.tick()
    assert place.children.stopped == [(place.number(job), False)], "once"


def test_a_kill_before_a_job_was_written_leaves_nothing(place: Place) -> None:
    folder = place.queue.folder_of("ftjob-" + "a" * 24)
    folder.path.mkdir()
    folder.recipe.write_text("task: chat\n")
    assert place.reopen().all() == []
    assert not folder.path.exists()


def test_a_damaged_job_is_named(place: Place) -> None:
    job = place.create()
    place.queue.folder_of(job).record.write_text('{"id": ')
    with pytest.raises(InputError, match=f"the job `{job}` cannot be read"):
        place.reopen()


def test_a_folder_has_one_queue(place: Place) -> None:
    with pytest.raises(InputError, match="another process has the jobs"):
        Queue(place.folder)


def test_jobs_wait_until_their_files_are_checked(place: Place) -> None:
    place.children.check = None
    file = place.queue.files.add(io.BytesIO(b"{}\n"), "rows.jsonl", ROWS)
    job = place.queue.create({"data.path": "rows.jsonl"}, [file.id], {}).id
    assert place.state(job) == "validating"
    assert place.queue.uses(file.id) == [job]
    other = place.create()
    assert place.state(other) == "running", "it need not wait for the files of others"
    place.children.end(-1, {"findings": [], "blocks": False})
    assert place.state(job) == "queued"
    place.queue.cancel(job)
    assert place.queue.uses(file.id) == []


def test_a_job_with_a_file_of_no_use_needs_no_process(place: Place) -> None:
    place.children.check = {"error": {"what": "`rows.jsonl` has no usable row", "why": "Line 1.", "exit_code": 2}}
    file = place.queue.files.add(io.BytesIO(b"{}\n"), "rows.jsonl", ROWS)
    job = place.queue.create({"data.path": "rows.jsonl"}, [file.id], {}).id
    place.queue.tick()
    assert place.state(job) == "failed"
    assert place.children.begun == []
    assert place.said(job)[-1] == f"The file `{file.id}` cannot be trained on. `rows.jsonl` has no usable row. Line 1."
    assert (place.queue.folder_of(job).failure() or {})["file"] == file.id


def test_a_check_that_dies_is_not_begun_for_ever(place: Place) -> None:
    place.children.check = None
    file = place.queue.files.add(io.BytesIO(b"{}\n"), "rows.jsonl", ROWS)
    place.queue.tick()
    place.children.end(-1)
    place.queue.tick()
    assert place.queue.files.state(file) == (
        "error",
        "The rows could not be checked. The process that read them was killed.",
    )


def test_waiting_jobs_are_planned_and_say_when_they_start(place: Place) -> None:
    first = place.create()
    waiting = [place.create() for _ in range(3)]
    plan = {"peak": 1 << 20, "run": {"seconds": 100.0}, "evaluation": {"seconds": 10.0}}
    for job in waiting[:2]:
        place.queue.tick()
        assert place.children.begun[-1] == ["plan", str(place.queue.folder_of(job).recipe), "--json"]
        place.children.end(max(place.children.alive), plan)
    place.queue.tick()
    folder = place.queue.folder_of(first)
    begin_run(folder)
    now = time.time()
    planned = {"event": "TimePlanned", "seconds": 50.0, "tokens_per_second": 1.0, "evaluation": 5.0, "time": now}
    folder.run.events.write_text(json.dumps(planned) + "\n")
    starts = [place.queue.view(job).starts for job in waiting]
    assert starts[0] == pytest.approx(now + 55, abs=1)
    assert starts[1] == pytest.approx(now + 55 + 116, abs=1)
    assert starts[2] == pytest.approx(now + 55 + 2 * 116, abs=1)


def test_several_run_at_once_only_with_the_memory_for_them(place: Place) -> None:
    place.reopen(at_once=2)
    first, second = place.create(), place.create()
    assert place.state(second) == "queued", "what it needs is not known yet"
    place.children.end(max(place.children.alive), {"peak": 1 << 20, "run": {"seconds": 1.0}})
    assert place.state(second) == "queued", "what the first needs is not known yet"
    predicted = json.dumps({"event": "MemoryPredicted", "resident": 1 << 20, "room": 1 << 30}) + "\n"
    for job in (first, second):
        begin_run(place.queue.folder_of(job))
        place.queue.folder_of(job).run.events.write_text(predicted)
    assert place.state(second) == "running"
    third = place.create()
    place.children.end(max(place.children.alive), {"peak": 1 << 20, "run": {"seconds": 1.0}})
    assert place.state(third) == "queued", "two at a time"
    place.children.end(place.number(first))
    assert place.state(third) == "running"


def test_too_large_a_job_waits_for_the_end_of_others(place: Place) -> None:
    place.reopen(at_once=2)
    first, second = place.create(), place.create()
    place.children.end(max(place.children.alive), {"peak": 1 << 50, "run": {"seconds": 1.0}})
    folder = place.queue.folder_of(first)
    begin_run(folder)
    folder.run.events.write_text(json.dumps({"event": "MemoryPredicted", "resident": 1 << 20, "room": 1 << 30}) + "\n")
    assert place.state(second) == "queued"
    place.children.end(place.number(first))
    assert place.state(second) == "running", "alone, whatever it needs: its own plan decides"


def test_success_is_reported_once(place: Place) -> None:
    seen: list[Viewed] = []
    job = place.create()
    place.queue.start(seen.append)
    finish_run(place.queue.folder_of(job))
    place.children.end(place.number(job), {})
    end = time.monotonic() + 30
    while not seen:
        assert time.monotonic() < end
        time.sleep(0.01)
    place.queue.tick()
    assert [(one.id, one.state) for one in seen] == [(job, "succeeded")]
    place.queue.remove_run(job)
    assert not place.queue.folder_of(job).run.path.exists()
    assert place.queue.view(job).state == "succeeded"


def test_unknown_jobs_are_refused(place: Place) -> None:
    for job in ("ftjob-1", "../jobs", "", "ftjob-" + "b" * 24):
        with pytest.raises(MissingJob):
            place.queue.view(job)


def test_processes_are_known_by_number_and_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNISH_API_KEY", "secret" * 4)
    children, forgotten = Children(), (tmp_path / "out").open("w")
    child = children.start(["--version"], tmp_path / "out", tmp_path / "log")
    assert "BURNISH_API_KEY" not in psutil.Process(child.process).environ()
    assert os.getsid(child.process) == child.process, "Ctrl-C in the server's terminal does not reach it"
    with forgotten:
        forgotten.write("of a process that was forgotten" * 10)
    end = time.monotonic() + 60
    while children.is_alive(child):
        assert time.monotonic() < end
        time.sleep(0.01)
    assert (tmp_path / "out").read_text() == f"{__version__}\n"
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        found = Child(process.pid, start_of(process.pid))
        assert Children().is_alive(found)
        assert not Children().is_alive(Child(process.pid, found.started - 60)), "another process had that number"
        Children().stop(found)
        assert process.wait(30) != 0
    assert not Children().is_alive(found)


def test_a_job_of_a_later_version_keeps_what_is_known(place: Place) -> None:
    job = place.create()
    folder = place.queue.folder_of(job)
    record = json.loads(folder.record.read_text())
    folder.record.write_text(json.dumps({**record, "colour": "red"}))
    assert isinstance(folder.read(), Job)
