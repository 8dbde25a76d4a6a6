"""The identity of a model changes with every bit that its result depends on, and is not computed twice."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from burnish.models import fingerprint as subject
from burnish.models.fingerprint import comparable_fingerprint, fingerprint, identity, is_same_model

LARGE = (1 << 26) + 4096


@pytest.fixture
def model(tiny_model: Callable[[str], Path], tmp_path: Path) -> Path:
    """A model folder that a test may damage."""
    return Path(shutil.copytree(tiny_model("llama"), tmp_path / "model"))


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a sparse file of more than 64 MiB, and a cache of its own."""
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "large"
    folder.mkdir()
    with (folder / "model.safetensors").open("wb") as file:
        file.truncate(LARGE)
    return folder


def flip(file: Path, position: int) -> None:
    """Changes one byte, and nothing else that a user could set."""
    times = file.stat()
    with file.open("r+b") as stream:
        stream.seek(position)
        stream.write(b"\x01")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_it_is_the_same_for_the_same_files(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(model, tmp_path / "copy"))
    (copy / "README.md").write_text("Words about the model are not the model.")
    (copy / "generation_config.json").write_text("{}")
    assert fingerprint(copy) == fingerprint(model)
    assert len(fingerprint(model)) == 64


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"])
def test_it_changes_with_a_bit_of_any_file(file: str, model: Path) -> None:
    before = fingerprint(model)
    content = bytearray((model / file).read_bytes())
    content[-3] ^= 1
    (model / file).write_bytes(content)
    assert fingerprint(model) != before


def test_it_changes_with_a_name(model: Path) -> None:
    before = fingerprint(model)
    (model / "model.safetensors").rename(model / "other.safetensors")
    assert fingerprint(model) != before


@pytest.mark.parametrize("position", [0, 1 << 25, LARGE // 2, LARGE - 1])
def test_every_byte_of_a_large_file_counts_although_it_is_cached(position: int, large: Path) -> None:
    before = fingerprint(large)
    flip(large / "model.safetensors", position)
    assert fingerprint(large) != before


def test_a_large_file_is_hashed_once(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(large)
    monkeypatch.setattr(subject, "_hash", lambda file: pytest.fail(f"{file} is hashed again"))
    assert fingerprint(large) == before
    moved = large.rename(large.with_name("moved"))
    with pytest.raises(pytest.fail.Exception, match="hashed again"):
        fingerprint(moved)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"sha256": 3}'])
def test_a_damaged_cache_is_no_matter(text: str, large: Path, tmp_path: Path) -> None:
    before = fingerprint(large)
    (place,) = (tmp_path / "cache" / "hashes").iterdir()
    place.write_text(text, encoding="utf-8")
    assert fingerprint(large) == before


def test_nor_is_a_cache_that_cannot_be_written(large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(large)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "file"))
    assert fingerprint(large) == before


def test_a_manifest_recognizes_its_model(large: Path) -> None:
    recorded = identity(large)
    assert recorded["hashed"] == "whole"
    assert is_same_model(recorded, large)
    flip(large / "model.safetensors", LARGE // 2)
    assert not is_same_model(recorded, large)


def test_what_an_earlier_version_recorded_is_compared_in_its_way(large: Path) -> None:
    """Of a file over 64 MiB it read the first and the last 32 MiB."""
    digest = hashlib.sha256(f"model.safetensors:{LARGE}\n".encode())
    digest.update(bytes(1 << 26))
    recorded = {"name": "large", "sha256": digest.hexdigest()}
    assert comparable_fingerprint(recorded, large) == recorded["sha256"]
    flip(large / "model.safetensors", LARGE // 2)
    assert is_same_model(recorded, large)
    flip(large / "model.safetensors", LARGE - 1)
    assert not is_same_model(recorded, large)


def test_weights_in_a_folder_below_and_code_count(tmp_path: Path) -> None:
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "one.safetensors").write_bytes(b"1")
    index = {"weight_map": {"a": "w/one.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    found = [fingerprint(tmp_path)]
    (tmp_path / "w" / "one.safetensors").write_bytes(b"2")
    found.append(fingerprint(tmp_path))
    (tmp_path / "modeling_mine.py").write_text("pass", encoding="utf-8")
    found.append(fingerprint(tmp_path))
    assert len(set(found)) == 3
