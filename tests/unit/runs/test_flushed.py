"""What a power cut may not take: contents are on the disk before they get their name, and then the name is.

The order of flushes and renames is what is tested, since no test can cut the power.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from burnish.runs.atomic import write_bytes, write_folder
from burnish.runs.event_log import EVENTS, METRICS, EventLog, flush_logs
from burnish.runs.events import StepDone, Warned

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a descriptor's file is found below /proc")


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happened, in order: `flush NAME` and `move NAME`; the ends of temporary names are left out."""
    found: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted(descriptor: int) -> None:
        found.append(f"flush {_plain(Path(f'/proc/self/fd/{descriptor}').readlink())}")
        fsync(descriptor)

    def moved(path: Path, target: Path) -> Path:
        found.append(f"move {_plain(path)} to {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(Path, "replace", moved)
    return found


def _plain(path: Path) -> str:
    name = path.name
    return name[: -len("-01234567")] if name.startswith(".writing-") else name


def test_a_file(done: list[str], tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"x")
    assert done == ["flush .writing-a", "move .writing-a to a", f"flush {tmp_path.name}"]


def test_a_folder(done: list[str], tmp_path: Path) -> None:
    with write_folder(tmp_path / "whole") as folder:
        (folder / "below").mkdir()
        (folder / "below" / "inner").write_text("x")
        (folder / "outer").write_text("x")
    *contents, move, last = done
    assert sorted(contents) == ["flush .writing-whole", "flush below", "flush inner", "flush outer"]
    assert (move, last) == ("move .writing-whole to whole", f"flush {tmp_path.name}")


def test_a_folder_of_many_files(done: list[str], tmp_path: Path) -> None:
    with write_folder(tmp_path / "whole") as folder:
        for number in range(40):
            (folder / f"file-{number}").write_text("x")
    *contents, move, last = done
    assert sorted(contents) == sorted(["flush .writing-whole", *(f"flush file-{number}" for number in range(40))])
    assert (move, last) == ("move .writing-whole to whole", f"flush {tmp_path.name}")


def test_a_log_that_a_checkpoint_relies_on(done: list[str], tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log(StepDone(1, 1, 0.5, 3.0, 1e-3, 0.7, 100, 60, 0.25, 2.0))
    log(Warned("a word"))
    flush_logs(tmp_path)
    assert sorted(done) == [f"flush {EVENTS}", f"flush {METRICS}"]
