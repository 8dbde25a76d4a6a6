"""Data that is too large for memory is kept on the disk; what cannot be read row by row, or has no room, is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from burnish.data.files.hub import HubSplit
from burnish.data.files.sources import find_sources
from burnish.data.rows import place
from burnish.data.rows.dataset import load_records
from burnish.data.rows.disk import Disk
from burnish.data.rows.packed import Packed
from burnish.data.rows.place import TIMES, find_place
from burnish.errors import DataError, MachineError
from burnish.recipe.schema import DataSection

COUNT = 3_000


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """10,000 bytes are free."""
    monkeypatch.setattr(place, "_free_memory", lambda: 10_000)


def write_rows(folder: Path, suffix: str, texts: list[str]) -> Path:
    """A file with one column."""
    import pyarrow
    import pyarrow.parquet

    path = folder / f"a{suffix}"
    lines = [json.dumps({"text": text}) for text in texts]
    content = {
        ".jsonl": lambda: "\n".join(lines),
        ".csv": lambda: "text,n\n" + "".join(f"{text},{n}\n" for n, text in enumerate(texts)),
        ".txt": lambda: "\n\n".join(texts),
        ".json": lambda: "[" + ",".join(lines) + "]",
    }
    if suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.table({"text": texts}), path)
    elif suffix == ".jsonl.gz":
        path.write_bytes(gzip.compress("\n".join(lines).encode()))
    else:
        path.write_text(content[suffix](), encoding="utf-8")
    return path


def place_of(path: Path, **options: Any) -> Disk | None:
    """Where the rows of a file are kept."""
    return find_place(DataSection(path=str(path), **options), find_sources(str(path)).train)


def test_data_is_on_the_disk_if_it_would_fill_half_of_the_free_memory(tmp_path: Path, little_memory: None) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * (5_000 // TIMES))
    assert place_of(path) is None
    assert place_of(path, keep_in_memory=False) is not None
    path.write_bytes(b"x" * (5_000 // TIMES + 1))
    disk = place_of(path)
    assert disk is not None and "of data, and" in disk.why
    assert place_of(path, keep_in_memory=True) is None


def test_the_first_rows_of_a_large_file_are_few(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "_free_memory", lambda: 1_000_000)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * 500_000)
    assert place_of(path) is not None
    assert place_of(path, rows=5) is None


def test_a_compressed_file_counts_for_what_it_holds(tmp_path: Path, little_memory: None) -> None:
    for name in ("a.jsonl.gz", "a.parquet"):
        (tmp_path / name).write_bytes(b"x" * 400)
        size = place._bytes_of(tmp_path / name)
        assert size == 1_600


def test_a_hub_dataset_counts_for_its_table() -> None:
    import datasets

    split = HubSplit("a/b/train", datasets.Dataset.from_dict({"text": ["abcdefgh"] * 100}))
    assert place._bytes_of(split) >= 800


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".csv", ".txt", ".parquet"])
def test_these_formats_are_read_row_by_row(
    suffix: str, tmp_path: Path, little_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"Text {number} is one of many." * 3 for number in range(COUNT)]
    path = write_rows(tmp_path, suffix, texts)
    found = load_records(DataSection(path=str(path)))
    monkeypatch.undo()
    plain = load_records(DataSection(path=str(path)))
    assert found.disk is not None and plain.disk is None
    assert isinstance(found.train, Packed) or suffix == ".txt"
    for name in ("train", "valid", "test"):
        assert list(getattr(found, name)) == list(getattr(plain, name))
    assert (found.sha256, found.rejected) == (plain.sha256, plain.rejected)


def test_a_document_that_is_too_large_to_be_read_whole_is_refused_by_name(tmp_path: Path, little_memory: None) -> None:
    path = write_rows(tmp_path, ".json", [f"Text {number}." for number in range(COUNT)])
    with pytest.raises(DataError, match=r"a\.json` is too large") as caught:
        load_records(DataSection(path=str(path)))
    assert "JSON Lines" in caught.value.fix
    assert len(load_records(DataSection(path=str(path), keep_in_memory=True)).valid) > 0
    as_lines = path.with_name("b.json")
    as_lines.write_text("".join(json.dumps({"text": f"Text {n}."}) + "\n" for n in range(COUNT)), encoding="utf-8")
    assert load_records(DataSection(path=str(as_lines))).disk is not None


def test_a_disk_without_room_is_refused_before_a_row_is_read(
    tmp_path: Path, little_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("no JSON\n" * 1_000, encoding="utf-8")
    size = path.stat().st_size
    monkeypatch.setattr(place.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": TIMES * size - 1}))
    with pytest.raises(MachineError, match="no room for these rows"):
        load_records(DataSection(path=str(path)))
