"""Writes that are whole or absent."""

from __future__ import annotations

import errno
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import InputError, MachineError
from burnish.runs.atomic import (
    TEMPORARY_PREFIX,
    as_disk_error,
    check_target,
    remove_abandoned,
    remove_leftovers,
    write_bytes,
    write_folder,
    write_json,
    write_json_lines,
    write_text,
)
from tests.snapshots import check_message
from tests.tiny_models import make_network

resource = pytest.importorskip("resource", reason="file size limits are POSIX")


@contextmanager
def small_disk(size_bytes: int) -> Iterator[None]:
    """While entered, no file may grow beyond so many bytes: writing then fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names_in(folder: Path) -> list[str]:
    """Everything that lies there."""
    return sorted(path.name for path in folder.iterdir())


def test_writes_bytes_text_and_json(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"\x00\xff")
    write_text(tmp_path / "b", "é\n")
    write_json(tmp_path / "c", {"größe": [1, 2.5, None]})
    write_json_lines(tmp_path / "d", [{"a": 1}, {"b": "ü"}])
    assert (tmp_path / "a").read_bytes() == b"\x00\xff"
    assert (tmp_path / "b").read_bytes() == "é\n".encode()
    assert (tmp_path / "c").read_text(encoding="utf-8") == '{\n  "größe": [\n    1,\n    2.5,\n    null\n  ]\n}\n'
    assert (tmp_path / "d").read_text(encoding="utf-8") == '{"a": 1}\n{"b": "ü"}\n'
    assert names_in(tmp_path) == ["a", "b", "c", "d"]


def test_a_file_is_replaced_in_one_move(tmp_path: Path) -> None:
    """Who opened the old file reads the old content to its end: the name is moved, the file not rewritten."""
    path = tmp_path / "file"
    write_text(path, "old")
    with path.open() as reader:
        write_text(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")
    with pytest.raises(MachineError) as caught, small_disk(1000):
        write_bytes(path, b"x" * 5000)
    check_message(caught.value, {tmp_path: "FOLDER"})
    assert caught.value.exit_code == 3
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with write_folder(path) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_text("here")
        assert folder.parent == tmp_path, "on the same file system, so that the move is one move"
        assert not path.exists()
    assert (path / "deep" / "file").read_text() == "here"
    assert names_in(tmp_path) == ["folder"]


def test_a_folder_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    for content in ("old", "new"):
        with write_folder(path) as folder:
            (folder / content).write_text(content)
    assert names_in(path) == ["new"]
    assert names_in(tmp_path) == ["folder"]


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_folder_and_no_trace(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with write_folder(path) as folder:
        (folder / "file").write_text("old")
    with pytest.raises(error), write_folder(path) as folder:
        (folder / "file").write_text("half")
        raise error
    assert (path / "file").read_text() == "old"
    assert names_in(tmp_path) == ["folder"]


def test_a_full_disk_leaves_the_old_folder_and_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    with write_folder(path) as folder:
        (folder / "file").write_text("old")
    with pytest.raises(MachineError, match="cannot write"), small_disk(1000), write_folder(path) as folder:
        (folder / "file").write_bytes(b"x" * 5000)
    assert (path / "file").read_text() == "old"
    assert names_in(tmp_path) == ["folder"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_what_the_disk_refuses_is_reported_as_such(number: int, tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot write") as caught, as_disk_error(tmp_path):
        raise OSError(number, os.strerror(number))
    assert os.strerror(number) in caught.value.why


def test_what_rust_libraries_say_of_the_disk_is_understood(tmp_path: Path) -> None:
    """safetensors and tokenizers raise errors of their own, with the number in the text."""
    with pytest.raises(MachineError, match="cannot write") as caught, as_disk_error(tmp_path):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert os.strerror(28) in caught.value.why
    with pytest.raises(RuntimeError), as_disk_error(tmp_path):
        raise RuntimeError("I/O error: Permission denied (os error 13)")


def test_weights_and_tokenizer_on_a_full_disk(tmp_path: Path, tiny_tokenizer: Any) -> None:
    """The libraries that write them really do say it that way."""
    for write in (make_network("llama").save_pretrained, tiny_tokenizer.save_pretrained):
        with pytest.raises(MachineError, match="cannot write"), small_disk(4000), write_folder(tmp_path / "it") as it:
            write(str(it))
        assert names_in(tmp_path) == []


def test_other_failures_are_not_the_disks(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), as_disk_error(tmp_path):
        raise PermissionError(errno.EACCES, "denied")
    with pytest.raises(ValueError, match="mine"), as_disk_error(tmp_path):
        raise ValueError("mine")


def test_temporary_names_are_recognized_by_their_prefix(tmp_path: Path) -> None:
    with write_folder(tmp_path / "folder") as folder:
        assert folder.name.startswith(TEMPORARY_PREFIX)


def test_leftovers_of_a_killed_write_are_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / f"{TEMPORARY_PREFIX}adapter-1").mkdir()
    (tmp_path / f"{TEMPORARY_PREFIX}adapter-1" / "half").write_text("x")
    (tmp_path / f"{TEMPORARY_PREFIX}manifest.json-2").write_text("x")
    (tmp_path / "adapter").mkdir()
    remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


@pytest.mark.parametrize(
    ("name", "may_replace", "what"),
    [
        ("file", False, "already exists"),
        ("file", True, ""),
        ("folder", False, "already exists"),
        ("folder", True, "is a folder"),
        ("none/file", False, "does not exist"),
        ("none/file", True, "does not exist"),
        ("new", False, ""),
    ],
)
def test_places_that_cannot_be_written_are_refused(name: str, may_replace: bool, what: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    if not what:
        check_target(tmp_path / name, may_replace)
        return
    with pytest.raises(InputError) as caught:
        check_target(tmp_path / name, may_replace)
    assert caught.value.what.endswith(what)
    assert caught.value.why
    assert caught.value.fix


def hold_a_folder(path: Path, is_written: Any, may_end: Any) -> None:
    """Writes a folder, and waits in the middle of it."""
    with write_folder(path) as folder:
        (folder / "half").write_text("x")
        is_written.set()
        may_end.wait(30)


def test_a_place_that_is_refused_loses_what_a_killed_process_left_of_it(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for name in ("model-12345678", "model-merged-12345678", "other-12345678"):
        (tmp_path / f"{TEMPORARY_PREFIX}{name}" / "inner").mkdir(parents=True)
    with pytest.raises(InputError, match="already exists"):
        check_target(tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{TEMPORARY_PREFIX}other-12345678", "model"]


def test_what_a_killed_process_left_beside_a_folder_is_removed_and_nothing_that_is_being_written(
    tmp_path: Path,
) -> None:
    """Such a place, as the target of a merge or the cache, has no lock of its own."""
    context = multiprocessing.get_context("fork")
    is_written, may_end = context.Event(), context.Event()
    process = context.Process(target=hold_a_folder, args=(tmp_path / "model", is_written, may_end))
    process.start()
    assert is_written.wait(60)
    (held,) = tmp_path.iterdir()
    with write_folder(tmp_path / "model"):
        remove_abandoned(tmp_path)
        assert held.is_dir(), "its process lives"
    process.kill()
    process.join()
    assert held.is_dir()
    write_text(tmp_path / "mode", "of another name")
    assert held.is_dir()
    with write_folder(tmp_path / "model"):
        assert not held.exists()
    assert names_in(tmp_path) == ["mode", "model"]
