"""Snapshots: a changed or missing one fails, and the variable of `make snapshots` writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from burnish.errors import InputError
from tests import snapshots


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "FOLDER", tmp_path)
    monkeypatch.delenv(snapshots.WRITE, raising=False)


def write(monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    with monkeypatch.context() as patch:
        patch.setenv(snapshots.WRITE, "write")
        snapshots.check_snapshot(name, text)


def test_the_same_text_passes_and_another_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    write(monkeypatch, "area/file::one", "first\n  indented\n\n## last")
    snapshots.check_snapshot("area/file::one", "first\n  indented\n\n## last\n")
    with pytest.raises(AssertionError, match="make snapshots"):
        snapshots.check_snapshot("area/file::one", "first")


def test_a_missing_snapshot_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    write(monkeypatch, "area/file::one", "text")
    for name in ("area/file::two", "area/other::one"):
        with pytest.raises(AssertionError, match="there is no snapshot"):
            snapshots.check_snapshot(name, "text")


def test_entries_of_a_file_are_kept_and_sorted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for entry in ("b", "a", "c"):
        write(monkeypatch, f"area/file::{entry}", entry)
    assert (tmp_path / "area" / "file.txt").read_text() == "## a\n    a\n\n## b\n    b\n\n## c\n    c\n"
    assert list((tmp_path / "area").iterdir()) == [tmp_path / "area" / "file.txt"]


def test_an_error_has_its_parts_and_masks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    error = InputError(f"cannot read `{tmp_path}/x`", fix="Check the path")
    monkeypatch.setenv("PYTEST_CURRENT_TEST", "tests/unit/area/test_it.py::test_one (call)")
    with monkeypatch.context() as patch:
        patch.setenv(snapshots.WRITE, "write")
        snapshots.check_message(error, {tmp_path: "FOLDER"})
    found = snapshots.read_snapshots(tmp_path / "unit" / "area" / "test_it.txt")
    assert found == {"test_one": "error: cannot read `FOLDER/x`\nhint: Check the path"}
