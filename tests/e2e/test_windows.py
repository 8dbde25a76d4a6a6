"""Runs as on Windows, played here: what it lacks is missing, what it refuses is refused.

Folders cannot be opened or flushed, nor files that are open for reading only. A file that this process has open or
mapped cannot be renamed, replaced or removed, nor can the folder that holds it. There are no links, no user ids and no
SIGKILL.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil  # noqa: F401  before the platform is another one
import pytest

from burnish.cli.console import Console, Output
from burnish.errors import BurnishError
from burnish.runs.atomic import write_bytes, write_folder
from burnish.runs.lock import LOCK, write_lock
from burnish.system.shell import quoted
from tests.e2e.command_result import adapter_bytes, listing
from tests.e2e.conftest import SHORT, Burnish

import_module("burnish.workflows.train")  # what it imports depends on the platform
pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="sees open files in /proc")

_MISSING = ("fork", "kill", "killpg", "getuid", "geteuid", "getgid", "sysconf", "confstr", "sched_getaffinity", "nice")
_NO_MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "readline")


def open_files() -> set[str]:
    """What this process has open or mapped."""
    found = set()
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208  links are read one by one
        try:
            found.add(os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115
        except OSError:
            continue
    maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    return found | {line.split(maxsplit=5)[5] for line in maps if len(line.split(maxsplit=5)) == 6}


def refuse_in_use(*paths: Any) -> None:
    """Raises for a file that is open, and for a folder that holds one."""
    held = open_files()
    for path in map(os.path.realpath, paths):
        if any(one == path or one.startswith(f"{path}/") for one in held):
            raise PermissionError(errno.EACCES, "The process cannot access the file", path)


def guarded(real: Callable[..., Any]) -> Callable[..., Any]:
    """A function of `os` that changes one or two paths."""

    def call(source: Any, *others: Any, **named: Any) -> Any:
        if named.get("dir_fd") is None:
            refuse_in_use(source, *(one for one in others[:1] if isinstance(one, (str, Path))))
        return real(source, *others, **named)

    return call


def no_folders(real: Callable[..., int]) -> Callable[..., int]:
    """`os.open`."""

    def call(path: Any, flags: int, *others: Any, **named: Any) -> int:
        if isinstance(path, (str, Path)) and Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, flags, *others, **named)

    return call


def only_written(real: Callable[[int], None]) -> Callable[[int], None]:
    """`os.fsync`."""

    def call(descriptor: int) -> None:
        access = int(Path(f"/proc/self/fdinfo/{descriptor}").read_text().split("flags:")[1].split()[0], 8)
        if access & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        real(descriptor)

    return call


def no_links(*given: Any, **named: Any) -> None:
    """`os.symlink` and `os.link`."""
    raise OSError(errno.EPERM, "A required privilege is not held by the client")


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, this process is on Windows as far as files, signals and modules go."""
    for name in ("rename", "replace", "unlink", "remove", "rmdir"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    monkeypatch.setattr(os, "open", no_folders(os.open))
    monkeypatch.setattr(os, "fsync", only_written(os.fsync))
    monkeypatch.setattr(tempfile, "TemporaryFile", tempfile.NamedTemporaryFile)  # as there: it has a name
    monkeypatch.setattr(shutil, "_use_fd_functions", False)  # as there: folders are walked by their paths
    for name in ("symlink", "link"):
        monkeypatch.setattr(os, name, no_links)
    for name in _MISSING:
        monkeypatch.delattr(os, name)
    for name in ("SIGKILL", "SIGHUP", "SIGALRM", "SIGUSR1"):
        monkeypatch.delattr(signal, name)
    for name in _NO_MODULES:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(sys, "platform", "win32")


def test_a_file_in_use_and_a_folder_that_cannot_be_flushed(tmp_path: Path, windows: None) -> None:
    """A guard for the tests below."""
    held = tmp_path / "held"
    with held.open("w"), pytest.raises(PermissionError):
        held.rename(tmp_path / "other")
    with pytest.raises(PermissionError):
        os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(AttributeError):
        _ = signal.SIGKILL


def test_files_and_folders_are_written_whole(tmp_path: Path, windows: None) -> None:
    write_bytes(tmp_path / "one", b"1")
    for content in ("first", "second"):
        with write_folder(tmp_path / "two") as folder:
            (folder / "inner").mkdir()
            (folder / "inner" / "file").write_text(content)
        assert (tmp_path / "two" / "inner" / "file").read_text() == content
    assert listing(tmp_path) == ["one 1", "two/", "two/inner/", "two/inner/file 6"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_file_that_another_program_reads_for_a_moment(
    kind: str, tmp_path: Path, windows: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virus scanner, or `burnish show` beside it: the rename is tried again, and fails only if it goes on."""
    refused: list[str] = []
    real, most = os.replace, 3

    def replace(source: Any, target: Any) -> None:
        if len(refused) < most:
            refused.append(str(target))
            raise PermissionError(errno.EACCES, "The process cannot access the file", str(target))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(os, "rename", replace)
    if kind == "file":
        write_bytes(tmp_path / "one", b"1")
        assert (tmp_path / "one").read_bytes() == b"1"
    else:
        with write_folder(tmp_path / "one") as folder:
            (folder / "file").touch()
        assert (tmp_path / "one" / "file").is_file()
    assert len(refused) == 3
    most = 10**6
    with pytest.raises(BurnishError, match="is open in another program") as caught:
        write_bytes(tmp_path / ("one" if kind == "file" else "another"), b"2")
    assert caught.value.exit_code == 3


def test_the_lock_is_freed_although_its_file_is_open(tmp_path: Path, windows: None) -> None:
    for _ in range(2):
        with write_lock(tmp_path, "trained"):
            assert (tmp_path / LOCK).is_file()
        assert list(tmp_path.iterdir()) == []


def test_a_run_from_training_to_its_report(
    here: Path, base: Path, rows_file: Path, burnish: Burnish, windows: None, made_runs: Path
) -> None:
    train = burnish(f"train {rows_file} --model {base} {SHORT} --set save.keep=1 --set save.every=1 --name mine")
    assert train.code == 0, train.err
    assert adapter_bytes(here / "runs" / "mine") == adapter_bytes(made_runs / "whole")
    (here / "runs" / "mine" / "evaluation.json").unlink()
    for words in ("resume mine", "evaluate mine", "report mine", "merge mine", "eject mine", "runs", "show mine"):
        result = burnish(words)
        assert result.code == 0, f"{words}: {result.err}"
    assert burnish("train missing.jsonl --name con").code == 2
    assert not [entry for entry in listing(here) if ".writing-" in entry or LOCK in entry]


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii"])
def test_a_console_that_cannot_show_a_character_shows_its_number(encoding: str) -> None:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    console = Console(Output(), out, err)
    console.result("naïve → 東京 🙂")
    console.error(BurnishError("cannot read `東京.jsonl`", "→", "─►"))
    out.flush()
    err.flush()
    assert b"\\u6771" in out.buffer.getvalue()  # type: ignore[attr-defined]
    assert b"error: cannot read" in err.buffer.getvalue()  # type: ignore[attr-defined]


def test_commands_to_type_are_quoted_for_the_shell_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert quoted("runs/my run") == "'runs/my run'"
    monkeypatch.setattr(sys, "platform", "win32")
    assert quoted(r"runs\mine") == r"runs\mine"
    assert quoted(r"runs\my run") == r'"runs\my run"'
