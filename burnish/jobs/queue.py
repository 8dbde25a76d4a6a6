"""The queue: jobs wait for their turn, run in processes of their own, and are found again by whoever opens it next.

validating ─► queued ─► running ─► succeeded
                ▲          ├─────► failed         its process said why
                │          ├─────► paused         asked to; saved a checkpoint
                └─ resume ─┴─────► interrupted    killed; the run has its checkpoints
"""

from __future__ import annotations

import contextlib
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from burnish.errors import InputError
from burnish.jobs.aside import Aside
from burnish.jobs.children import Child, Children, find_child
from burnish.jobs.course import Course, Watch
from burnish.jobs.files import UNUSABLE, FileStore, MissingFile
from burnish.jobs.job import (
    CANCEL,
    CANCELLED,
    ENDED,
    FAILED,
    GO,
    INTERRUPTED,
    PAUSE,
    PAUSED,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    VALIDATING,
    Job,
    JobFolder,
    in_words,
    state_of,
)
from burnish.jobs.place import open_folder
from burnish.jobs.waiting import Waiting, has_room, needed_bytes, planned_seconds, starts
from burnish.runs.atomic import remove_folder
from burnish.runs.folder import RunFolder, begun_at
from burnish.runs.lock import writer_of
from burnish.visible import visible

_LOG = logging.getLogger("burnish.jobs")
_ID = re.compile(r"ftjob-[0-9a-f]{24}")
_TICK_SECONDS = 0.5
_PATIENCE_SECONDS = 120.0
"""In which a cancelled process has to have ended by itself."""


class MissingJob(InputError):
    """There is no job of that id."""


class WrongState(InputError):
    """A job is not in a state in which this can be done."""


@dataclass(frozen=True, slots=True)
class Viewed:
    """A job with what follows from its folders."""

    job: Job
    folder: JobFolder
    state: str
    course: Course | None
    """How far its run is; None if it has not begun."""
    starts: float | None
    """When it is expected to start, in seconds since the epoch; None if it does not wait, or that is not known."""

    @property
    def id(self) -> str:
        """Of the job."""
        return self.job.id


class Queue:
    """The jobs of a folder. One process at a time has it open.

    Args:
        folder: of the jobs; it is made if it does not exist.
        at_once: jobs that may run at a time, if the memory suffices for them.
        children: starts and watches processes.

    Raises:
        InputError: another process has it open, or it cannot be written.
    """

    def __init__(self, folder: Path, at_once: int = 1, children: Children | None = None) -> None:
        self._folder = folder.absolute()
        self._lock = open_folder(self._folder)
        self.files = FileStore(self._folder / "files")
        self.runs = self._folder / "runs"
        self._at_once = at_once
        self._on_success: Callable[[Viewed], None] = lambda _: None
        self._children = children or Children()
        self._aside = Aside(self._children)
        self._guard, self._changed = threading.RLock(), threading.Event()
        self._watches: dict[str, Watch] = {}
        self._last: dict[str, Course] = {}
        self._asked: dict[str, float] = {}
        """When a process was asked to end, by the id of its job."""
        self._jobs: dict[str, Job] = {}
        self._is_closed = False
        self._read_all()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self, on_success: Callable[[Viewed], None] = lambda _: None) -> None:
        """Begins to start and watch jobs, in a thread.

        Args:
            on_success: called there with each job that succeeds.
        """
        self._on_success = on_success
        self._thread.start()

    def close(self) -> None:
        """Ends the thread. Processes go on, and are found again."""
        self._is_closed = True
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=60)
        self._lock.release()

    def folder_of(self, job_id: str) -> JobFolder:
        """Where the files of a job are."""
        return JobFolder(self._folder / "jobs" / job_id, RunFolder(self.runs / job_id))

    def create(self, recipe: Mapping[str, Any], files: list[str], details: Mapping[str, Any]) -> Viewed:
        """Takes on a training.

        Args:
            recipe: options by dotted name, valid, without the name of the run and its folder.
            files: ids of the stored files that it reads.
            details: what the caller keeps with it, as JSON.
        """
        job_id, now = f"ftjob-{secrets.token_hex(12)}", time.time()
        options = {**recipe, "name": job_id, "runs": str(self.runs)}
        job = Job(job_id, now, options, files, dict(details), queued=now).saying("info", "The job was created.")
        folder = self.folder_of(job_id)
        with self._guard:
            folder.path.mkdir()
            folder.write_recipe(options)
            self._put(job)
        self._changed.set()
        return self.view(job_id)

    def view(self, job_id: str) -> Viewed:
        """A job.

        Raises:
            MissingJob: there is none.
        """
        with self._guard:
            self._note_end(self._find(job_id))  # so that what it says of its end is there with its state
            return self._viewed(self._find(job_id), self._starts())

    def all(self) -> list[Viewed]:
        """Every job, the oldest first."""
        with self._guard:
            for job in list(self._jobs.values()):
                self._note_end(job)
            found = sorted(self._jobs.values(), key=lambda job: (job.created, job.id))
            starts_at = self._starts()
            return [self._viewed(job, starts_at) for job in found]

    def pause(self, job_id: str) -> Viewed:
        """Lets a job save its state and end, until it is resumed; one that waits, waits on.

        Raises:
            MissingJob: there is none.
            WrongState: it does neither run nor wait.
        """
        with self._guard:
            job = self._expect(job_id, (VALIDATING, QUEUED, RUNNING), "paused")
            self._put(replace(job, wanted=PAUSE, is_queued=False).saying("info", "The job is to be paused."))
            self._stop(job)
        return self.view(job_id)

    def resume(self, job_id: str) -> Viewed:
        """Puts a job at the end of the queue, to go on exactly where it stopped.

        Raises:
            MissingJob: there is none.
            WrongState: it runs, waits or has ended well.
        """
        with self._guard:
            job = self._find(job_id)
            if not (job.wanted == PAUSE and self._is_alive(job)):  # else it has been asked to end, and will go on
                job = self._expect(job_id, (PAUSED, INTERRUPTED, FAILED), "resumed")
            again = replace(job, wanted=GO, is_queued=True, queued=time.time(), outcome=None, ended=None)
            self._put(again.saying("info", "The job is to be resumed."))
        self._changed.set()
        return self.view(job_id)

    def cancel(self, job_id: str) -> Viewed:
        """Ends a job for good. What its run has written stays.

        Raises:
            MissingJob: there is none.
            WrongState: it has ended already.
        """
        with self._guard:
            states = (VALIDATING, QUEUED, RUNNING, PAUSED, INTERRUPTED)
            job = self._expect(job_id, states, "cancelled")
            self._put(replace(job, wanted=CANCEL, is_queued=False).saying("info", "The job is to be cancelled."))
            self._stop(job)
        self.tick()
        return self.view(job_id)

    def remove_run(self, job_id: str) -> None:
        """Removes the run folder of a job that has ended.

        Raises:
            MissingJob: there is none.
            WrongState: it has not ended, or its run is gone.
        """
        with self._guard:
            job = self._expect(job_id, ENDED, "removed")
            run = self.folder_of(job_id).run
            self._put(replace(job, is_removed=True).saying("info", "The result of the job was deleted."))
            if run.path.is_dir():
                remove_folder(run.path)

    def set_result(self, job_id: str, file_id: str) -> None:
        """Notes the stored file of a job's metrics."""
        with self._guard:
            self._put(replace(self._find(job_id), result_file=file_id))

    def say(self, job_id: str, level: str, text: str) -> None:
        """Adds a sentence to a job."""
        with self._guard:
            self._put(self._find(job_id).saying(level, text))

    def uses(self, file_id: str) -> list[str]:
        """The ids of jobs that have not ended and read a stored file."""
        with self._guard:
            return [job.id for job in self._jobs.values() if file_id in job.files and job.outcome is None]

    def tick(self) -> None:
        """Notes what has ended, and starts what is next."""
        with self._guard:
            for job in list(self._jobs.values()):
                self._note_end(job)
            self._aside.check_next(self.files)
            for job in self._waiting():
                self._refuse_files(job)
            self._start_next()
            queued = (job for job in self._waiting() if self._state(job) == QUEUED)
            self._aside.plan_next(map(self.folder_of, (job.id for job in queued)))

    def _run(self) -> None:
        while not self._is_closed:
            try:
                self.tick()
            except Exception:  # noqa: BLE001  one that fails does not end the queue
                _LOG.exception("the queue of jobs")
            self._changed.wait(_TICK_SECONDS)
            self._changed.clear()

    def _read_all(self) -> None:
        """Reads the jobs, and finds the processes of those that were being started when the last owner was killed."""
        for path in sorted((self._folder / "jobs").iterdir()):
            if not _ID.fullmatch(path.name):
                continue
            folder = self.folder_of(path.name)
            if folder.is_bare:
                remove_folder(path)  # its client never had an answer
                continue
            job = folder.read()
            if job.child == {}:
                found = find_child(str(folder.recipe)) or find_child(str(folder.run.path))
                job = folder.write(replace(job, child=_record(found)))
            self._jobs[job.id] = job

    def _find(self, job_id: str) -> Job:
        if job_id not in self._jobs:
            raise MissingJob(f"there is no job `{visible(job_id[:80])}`", "", "Ask for the list of jobs")
        return self._jobs[job_id]

    def _expect(self, job_id: str, states: tuple[str, ...], done: str) -> Job:
        job = self._find(job_id)
        state = self._state(job)
        if state not in states:
            raise WrongState(
                f"the job `{job_id}` cannot be {done}: it is {state}",
                f"A job can be {done} while it is {', '.join(states[:-1])} or {states[-1]}.",
            )
        return job

    def _put(self, job: Job) -> None:
        self._jobs[job.id] = self.folder_of(job.id).write(job)

    def _is_alive(self, job: Job) -> bool:
        """Whether a process works on a job: its own, or one that the user started by hand."""
        child = job.process
        if child is not None and self._children.is_alive(child):
            return True
        writer = writer_of(self.folder_of(job.id).run.path)
        return writer is not None and writer.is_on_this_machine  # the record of another is no proof

    def _is_checked(self, job: Job) -> bool:
        with contextlib.suppress(MissingFile):
            return all(self.files.is_checked(self.files.get(file_id)) for file_id in job.files)
        return True  # a file is gone, which its process will say

    def _state(self, job: Job) -> str:
        is_open = job.outcome is None
        return state_of(job, self.folder_of(job.id), is_open and self._is_alive(job), self._is_checked(job))

    def _viewed(self, job: Job, starts_at: Mapping[str, float | None]) -> Viewed:
        folder, state = self.folder_of(job.id), self._state(job)
        return Viewed(job, folder, state, self._course(job), starts_at.get(job.id) if state == QUEUED else None)

    def _course(self, job: Job) -> Course | None:
        """How far the run of a job is; None if there is none."""
        run = self.folder_of(job.id).run
        if job.is_removed or begun_at(run) is None:
            return self._last.get(job.id)
        if job.outcome is not None and job.id not in self._watches and job.id in self._last:
            return self._last[job.id]  # read after its end
        self._last[job.id] = self._watches.setdefault(job.id, Watch(run)).read()
        if job.outcome is not None:
            del self._watches[job.id]
        return self._last[job.id]

    def _stop(self, job: Job) -> None:
        child = job.process
        if child is not None:
            self._asked[job.id] = time.monotonic()
            self._children.stop(child)

    def _note_end(self, job: Job) -> None:
        """Notes that a job has ended, or that its process was killed."""
        if job.outcome is not None:
            return
        state = self._state(job)
        if state == RUNNING:
            asked = self._asked.get(job.id)
            if job.wanted != GO and asked is None:  # whoever wrote that it is to end was killed before it said so
                self._stop(job)
            elif job.wanted == CANCEL and asked is not None and time.monotonic() - asked > _PATIENCE_SECONDS:
                self._children.stop(job.process or Child(0, 0.0), at_once=True)
            return
        self._asked.pop(job.id, None)
        if state in ENDED:
            folder = self.folder_of(job.id)
            ended = replace(job, outcome=state, ended=time.time(), is_queued=False, child=None)
            failure = folder.failure() if state == FAILED else None
            text = f"The job {_PHRASES[state]}."
            self._put(ended.saying("error" if failure else "info", in_words(failure) if failure else text))
            if state == SUCCEEDED:
                self._on_success(self.view(job.id))
        elif job.child is not None and not job.is_queued:
            self._put(replace(job, child=None).saying(*_ABOUT[state]))

    def _waiting(self) -> list[Job]:
        """Jobs that wait, in their order."""
        found = [job for job in self._jobs.values() if job.outcome is None and job.is_queued]
        return sorted(found, key=lambda job: (job.queued, job.id))

    def _running(self) -> list[Job]:
        return [job for job in self._jobs.values() if job.outcome is None and self._is_alive(job)]

    def _refuse_files(self, job: Job) -> None:
        """Ends a waiting job of which a file turned out to be of no use."""
        for file_id in job.files:
            with contextlib.suppress(MissingFile):
                status, details = self.files.state(self.files.get(file_id))
                if status == UNUSABLE:
                    self.folder_of(job.id).refuse(file_id, details)
                    self._put(replace(job, is_queued=False))
                    return

    def _start_next(self) -> None:
        """Starts the first job that waits, if there is room for it; none is passed by a later one."""
        for job in self._waiting():
            running = self._running()
            state = self._state(job)
            if state == VALIDATING:
                continue  # whose files are still being checked
            if job in running or len(running) >= self._at_once:
                return
            folder = self.folder_of(job.id)
            beside = [(other.process, self._course(other)) for other in running]
            if running and not has_room(needed_bytes(folder.plan), beside):
                return
            self._aside.leave(job.id)  # its own run will plan
            self._start(job, folder)

    def _start(self, job: Job, folder: JobFolder) -> None:
        words = ["resume", str(folder.run.path)] if folder.has_begun else ["train", str(folder.recipe)]
        # written first: if this process is killed in between, the next one searches for the child
        self._put(replace(job, is_queued=False, child={}))
        child = self._children.start([*words, "--json"], folder.out, folder.log)
        self._put(replace(job, is_queued=False, child=_record(child)).saying("info", f"Process {child.process} began."))

    def _starts(self) -> dict[str, float | None]:
        """When each job that waits is expected to start."""
        ends = [None if course is None else course.ends for course in map(self._course, self._running())]
        queue = [Waiting(job.id, planned_seconds(self.folder_of(job.id).plan)) for job in self._waiting()]
        return starts(queue, ends, self._at_once, time.time())


_PHRASES = {SUCCEEDED: "has succeeded", CANCELLED: "was cancelled", FAILED: "has failed"}
_ABOUT = {
    PAUSED: ("info", "The job is paused."),
    INTERRUPTED: ("warn", "The process of the job has ended before its work was done. Resume it to go on."),
    QUEUED: ("info", "The job waits for its turn."),
    VALIDATING: ("info", "The job waits for its turn."),
}


def _record(child: Child | None) -> dict[str, Any] | None:
    return None if child is None else {"process": child.process, "started": child.started}
