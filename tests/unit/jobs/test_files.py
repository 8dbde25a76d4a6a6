"""Stored files: whole or not at all, named by us, with what `burnish check` says of them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from burnish.cli.main import main
from burnish.errors import InputError
from burnish.jobs.files import RESULTS, ROWS, FileStore, MissingFile, StoredFile, shown_name, suffix_of


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    (tmp_path / "files").mkdir()
    return FileStore(tmp_path / "files")


def add(store: FileStore, text: str, name: str = "rows.jsonl") -> StoredFile:
    """A file of rows."""
    return store.add(io.BytesIO(text.encode()), name, ROWS)


def check(store: FileStore, file: StoredFile, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """The state of a file after `burnish check`."""
    capsys.readouterr()
    main(["check", str(store.content(file)), "--json"])
    store.checked(file).write_text(capsys.readouterr().out)
    return store.state(file)


def test_bad_lines_are_named_by_their_numbers(store: FileStore, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [json.dumps({"prompt": f"What is {number}?", "completion": f"It is {number}."}) for number in range(30)]
    rows[2] = '{"prompt": "oops'
    file = add(store, "\n".join(rows), "my rows.jsonl")
    assert store.state(file) == ("uploaded", "")
    assert not store.is_checked(file)
    state, details = check(store, file, capsys)
    assert state == "processed"
    assert "broken-json (warns): 1 × lines that are not a JSON object (my rows.jsonl:3: " in details
    assert str(store.content(file)) not in details
    assert store.is_checked(file)


def test_a_file_without_a_usable_row_is_an_error(store: FileStore, capsys: pytest.CaptureFixture[str]) -> None:
    state, details = check(store, add(store, '{"a":\n', "bad.jsonl"), capsys)
    assert (state, "bad.jsonl:1: invalid JSON" in details) == ("error", True), details


def test_what_blocks_training_is_an_error(store: FileStore) -> None:
    file = add(store, "{}")
    finding = {"name": "same", "severity": "blocks", "count": 5, "places": ["a:1", "a:2"], "what": "rows", "fix": ""}
    store.checked(file).write_text(json.dumps({"findings": [finding], "blocks": True}))
    assert store.state(file) == ("error", "same (blocks): 5 × rows (a:1; a:2; and 3 more).")


def test_files_are_found_again(store: FileStore, tmp_path: Path) -> None:
    first, second = add(store, "1"), store.add(io.BytesIO(b"step\n"), "table.csv", RESULTS)
    again = FileStore(tmp_path / "files")
    assert again.all() == [first, second]
    assert again.content(second).read_text() == "step\n"
    assert again.content(second).suffix == ".csv"
    again.remove(first.id)
    assert FileStore(tmp_path / "files").all() == [second]
    with pytest.raises(MissingFile):
        again.get(first.id)
    assert again.named(f"`{store.content(first)}`:3") == f"`{first.id}`:3"


def test_an_empty_file_leaves_nothing(store: FileStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the file is empty"):
        add(store, "")
    assert list((tmp_path / "files").iterdir()) == []


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\rows.jsonl", "rows.jsonl"),
        ("", "file"),
        ("a\nb\x1b[31m.jsonl", None),
        ("é 行.jsonl", "é 行.jsonl"),
        ("x" * 400 + ".jsonl", None),
    ],
)
def test_names_can_be_shown_anywhere(given: str, shown: str | None) -> None:
    found = shown_name(given)
    assert found == shown or shown is None
    assert found.isprintable()
    assert len(found) <= 255


def test_only_plain_text_is_taken() -> None:
    assert suffix_of("rows") == ".jsonl"
    assert suffix_of("ROWS.CSV") == ".csv"
    for name in ("rows.jsonl.gz", "rows.zip", "rows.parquet", "rows.pt", "rows.xlsx"):
        with pytest.raises(InputError, match="are not taken"):
            suffix_of(name)
