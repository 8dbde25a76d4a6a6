"""One writer at a time: held by a living process, free when it is gone, and explained to everybody else."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from burnish.errors import InputError, MachineError
from burnish.runs.atomic import TEMPORARY_PREFIX
from burnish.runs.description import describe_run
from burnish.runs.folder import NameTaken, NewRun, check_new_run, check_room, find_run, fresh_name, result_of
from burnish.runs.lock import LOCK, RECORD, Locked, Writer, check_free, lock_for, write_lock, writer_of
from tests.snapshots import check_message
from tests.unit.runs.test_store import make_run

_HOLD = """
import sys, time
from pathlib import Path
from burnish.runs.lock import write_lock
with write_lock(Path(sys.argv[1]), "trained"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of `tmp_path`."""
    root = str(Path(__file__).parents[3])
    command = [sys.executable, "-c", _HOLD, str(tmp_path)]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": root}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def write_record(folder: Path, writer: Writer) -> None:
    """As a process leaves it that is killed."""
    (folder / LOCK).touch()
    (folder / RECORD).write_text(json.dumps(asdict(writer)), encoding="utf-8")


def test_a_second_writer_is_refused_and_given_process_host_and_time(
    tmp_path: Path, writer: subprocess.Popen[str]
) -> None:
    found = writer_of(tmp_path)
    assert found is not None
    assert (found.process, found.host, found.doing) == (writer.pid, socket.gethostname(), "trained")
    assert abs(found.since - time.time()) < 60
    with pytest.raises(Locked) as caught, write_lock(tmp_path, "trained"):
        pass
    since = str(found).partition(" since ")[2]
    names = {tmp_path: "FOLDER", str(writer.pid): "PROCESS", socket.gethostname(): "HOST", since: "SINCE"}
    check_message(caught.value, names)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("doing", ["merged", "evaluated", "reported", "ejected"])
def test_each_command_says_what_to_do_instead(doing: str, tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    for refuse in (
        lambda: check_free(tmp_path, tmp_path / "x", doing),
        lock_for(tmp_path, tmp_path / "x", doing).__enter__,
    ):
        with pytest.raises(Locked, match=f"being trained by process {writer.pid} on ") as caught:
            refuse()
        assert str(tmp_path) in caught.value.fix
    with lock_for(tmp_path, tmp_path.parent / "elsewhere", doing):
        check_free(tmp_path, tmp_path.parent / "elsewhere", doing)


def test_a_killed_writer_holds_nothing(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert (tmp_path / RECORD).is_file()
    assert writer_of(tmp_path) is None
    with write_lock(tmp_path, "trained") as killed:
        assert killed is not None
        assert killed.process == writer.pid
        here = writer_of(tmp_path)
        assert here is not None
        assert here.process == os.getpid()
    assert writer_of(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_who_asks_whether_a_run_is_free_removes_what_a_killed_writer_left(
    tmp_path: Path, writer: subprocess.Popen[str]
) -> None:
    """A command that is refused a moment later does not lock the run."""
    begin(tmp_path, [f"{TEMPORARY_PREFIX}report.html-1", f"adapter/{TEMPORARY_PREFIX}README.md-1"])
    with pytest.raises(Locked):
        check_free(tmp_path, tmp_path / "merged", "merged")
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    check_free(tmp_path, tmp_path.parent / "elsewhere", "merged")
    assert (tmp_path / RECORD).is_file()
    check_free(tmp_path, tmp_path / "merged", "merged")
    assert [path.name for path in tmp_path.rglob("*")] == ["adapter"]


def test_a_number_that_another_process_has_by_now(tmp_path: Path) -> None:
    """The record names a living process, this one, which began at another time than the writer did."""
    write_record(tmp_path, replace(Writer.here("trained"), process_started=Writer.here("trained").process_started - 60))
    assert writer_of(tmp_path) is None
    with write_lock(tmp_path, "trained") as killed:
        assert killed is not None


def test_a_machine_that_was_started_again(tmp_path: Path) -> None:
    write_record(tmp_path, replace(Writer.here("trained"), boot="another", process=2**22 - 7))
    assert writer_of(tmp_path) is None
    with write_lock(tmp_path, "trained"):
        pass


def test_another_container_on_this_machine_shares_its_locks(tmp_path: Path) -> None:
    here = Writer.here("trained")
    write_record(tmp_path, replace(here, host="container", process=2**22 - 7))
    if here.boot:
        with write_lock(tmp_path, "trained"):
            pass


def test_another_host_is_believed_until_its_record_is_removed(tmp_path: Path) -> None:
    write_record(tmp_path, replace(Writer.here("trained"), host="far-away", boot="another", process=7, since=0.0))
    assert writer_of(tmp_path) is not None
    with pytest.raises(Locked) as caught, write_lock(tmp_path, "trained"):
        pass
    since = str(writer_of(tmp_path)).partition(" since ")[2]
    check_message(caught.value, {tmp_path: "FOLDER", since: "SINCE"})
    subprocess.run(caught.value.fix.rpartition("`")[0].rpartition("`")[2], shell=True, check=True)
    with write_lock(tmp_path, "trained"):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"process": 1}'])
def test_a_damaged_record_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(content, encoding="utf-8")
    assert writer_of(tmp_path) is None
    with write_lock(tmp_path, "trained") as killed:
        assert killed is None


def test_the_lock_is_kept_from_the_same_process_too(tmp_path: Path) -> None:
    with write_lock(tmp_path, "trained"), pytest.raises(Locked), write_lock(tmp_path, "evaluated"):
        pass


def test_of_many_at_once_one_writes(tmp_path: Path) -> None:
    inside, refused, most = [], [], []

    def attempt() -> None:
        try:
            with write_lock(tmp_path, "merged"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.3)
                inside.pop()
        except Locked:
            refused.append(1)

    threads = [threading.Thread(target=attempt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) + len(refused) == 8
    assert refused


def test_a_running_run_is_shown_as_running(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "first")
    with write_lock(folder.path, "trained"):
        shown = describe_run(folder)
        assert shown["state"] == "running"
        assert shown["writer"].startswith(f"trained by process {os.getpid()} on ")
        with pytest.raises(Locked, match="has no result yet") as caught:
            result_of(folder)
        assert f"trained by process {os.getpid()}" in caught.value.why
    with write_lock(folder.path, "evaluated"):
        assert describe_run(folder)["state"] == "no checkpoint yet"
    assert describe_run(folder)["writer"] is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="cannot write into the run folder"), write_lock(tmp_path, "evaluated"):
        pass
    tmp_path.chmod(0o700)


def test_a_name_is_reserved_before_the_run_begins(tmp_path: Path) -> None:
    runs = tmp_path / "a" / "runs"
    with NewRun(runs) as new:
        folder = new.take("first")
        with pytest.raises(Locked, match="being trained by process"):
            check_new_run(runs, "first")
        with pytest.raises((Locked, NameTaken)), NewRun(runs) as second:
            second.take("first")
        assert folder.path.is_dir()
    assert list(tmp_path.iterdir()) == [], "nothing came of it"


def test_what_came_of_it_stays(tmp_path: Path) -> None:
    with NewRun(tmp_path) as new:
        (new.take("first").path / "recipe.yaml").touch()
    assert (tmp_path / "first" / "recipe.yaml").is_file()
    with pytest.raises(NameTaken):
        check_new_run(tmp_path, "first")


def test_the_name_of_a_run_that_was_killed_before_it_began_is_free(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    write_record(tmp_path / "first", replace(Writer.here("trained"), process=2**22 - 7))
    check_new_run(tmp_path, "first")
    with NewRun(tmp_path) as new:
        assert new.take("first").path == tmp_path / "first"


def test_many_runs_of_one_name_at_once(tmp_path: Path) -> None:
    """Each comes to nothing and removes its folder; none fails in another way than by being refused."""
    inside, most, failed = [], [], []

    def attempt() -> None:
        for _ in range(20):
            try:
                with NewRun(tmp_path / "runs") as new:
                    new.take("first")
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except (Locked, NameTaken):
                pass
            except OSError as error:
                failed.append(error)

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert max(most) == 1
    # an empty folder may stay where two leave it at the same moment
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_fresh_name_avoids_that_of_a_run_that_began_at_the_same_moment(tmp_path: Path) -> None:
    with NewRun(tmp_path) as one, NewRun(tmp_path) as two:
        assert [one.take_fresh("data").name, two.take_fresh("data").name] == ["data", "data-2"]


@pytest.mark.parametrize("name", ["con", "NUL", "com1.txt", "aux", "lpt9", "ends."])
def test_names_that_windows_cannot_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a valid run name"):
        check_new_run(tmp_path, name)


def test_a_disk_without_room(tmp_path: Path) -> None:
    check_room(tmp_path / "runs", 1)
    with pytest.raises(InputError.__mro__[1], match="the disk has no room for this run") as caught:
        check_room(tmp_path / "runs", 2**62)
    assert caught.value.exit_code == 3


_KILLED_IN_ITS_TRIAL = """
import resource, signal, sys
from pathlib import Path
from burnish.runs.folder import check_new_run
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
check_new_run(Path(sys.argv[1]) / "runs", "first")
"""
"""A write beyond the limit kills this process while it tries the disk."""


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="only Linux has files without a name")
def test_trying_the_disk_leaves_nothing_when_the_process_dies(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", _KILLED_IN_ITS_TRIAL, str(tmp_path)], check=False)
    assert ended.returncode == -signal.SIGXFSZ
    assert list(tmp_path.iterdir()) == []


_BEGUN = ("checkpoints/", "data/train.jsonl", "events.jsonl", "manifest.json", "rejected.jsonl", "views.json")
"""What a run has written when it writes its recipe."""


def begin(folder: Path, names: Iterable[str]) -> None:
    """Files and folders of a run that has not written its recipe yet."""
    for name in names:
        path = folder / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_text("{}\n")


@pytest.mark.parametrize("number", range(len(_BEGUN) + 1))
def test_a_run_that_was_killed_before_its_recipe_gives_its_name_back(number: int, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    begin(runs / "mine", (LOCK, RECORD, *_BEGUN[:number], f"{TEMPORARY_PREFIX}recipe.yaml-1"))
    with pytest.raises(InputError, match="never started") as caught:
        find_run("mine", str(runs))
    if number == 0:
        check_message(caught.value, {tmp_path: "FOLDER"})
    check_new_run(runs, "mine")
    assert fresh_name(runs, "mine") == "mine"
    with NewRun(runs) as new:
        folder = new.take("mine")
        assert sorted(path.name for path in folder.path.iterdir()) == [LOCK, RECORD]
    assert not (runs / "mine").exists()


@pytest.mark.parametrize("error", [MachineError("the disk is full"), KeyboardInterrupt()])
def test_a_run_that_fails_before_its_recipe_leaves_nothing(error: BaseException, tmp_path: Path) -> None:
    with pytest.raises(type(error)), NewRun(tmp_path / "runs") as new:
        begin(new.take("mine").path, _BEGUN)
        raise error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "others", ["recipe.yaml", "checkpoints/step-000001/state.json", "sweep.json", "notes.txt", "adapter/"]
)
def test_a_folder_with_anything_else_is_never_taken(others: str, tmp_path: Path) -> None:
    """A run, one that lost its recipe, a sweep, and what a user put there."""
    begin(tmp_path / "mine", (LOCK, *_BEGUN, others))
    with pytest.raises(NameTaken):
        check_new_run(tmp_path, "mine")
    with pytest.raises(NameTaken), NewRun(tmp_path) as new:
        new.take("mine")
    assert (tmp_path / "mine" / others).exists()
    assert (tmp_path / "mine" / "manifest.json").exists()


def test_whoever_locks_a_run_removes_what_killed_writers_left(tmp_path: Path) -> None:
    places = ("", "checkpoints/", "adapter/", "model/")
    begin(tmp_path, [f"{place}{TEMPORARY_PREFIX}it-1/weights" for place in places])
    begin(tmp_path, [f"{place}{TEMPORARY_PREFIX}file-1" for place in places])
    begin(tmp_path, ["adapter/weights", "mine/.writing-mine-1"])
    with write_lock(tmp_path, "merged"):
        left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == sorted([LOCK, RECORD, "adapter/weights", "mine/.writing-mine-1"])
