"""A second run on the same data begins from the tokens of the first, and comes to the same end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import burnish
from burnish.prepare import encode as preparation

OPTIONS = {
    "train.max_steps": 3,
    "batch.tokens": 400,
    "data.context": 64,
    "evaluate.answers": 0,
    "evaluate.general": "none",
    "model.device": "cpu",
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test alone, in which everything is worth keeping."""
    folder = tmp_path_factory.mktemp("own") / "cache"
    monkeypatch.setenv("BURNISH_CACHE", str(folder))
    monkeypatch.setattr(preparation, "_WORTH_KEEPING", 0.0)
    return folder


def adapter_of(rows_file: Path, base: Path) -> bytes:
    """The weights that a run ends with."""
    run = burnish.train(str(rows_file), model=str(base), method="lora", set=OPTIONS)
    return (run.path / "adapter" / "adapter_model.safetensors").read_bytes()


def test_a_second_run_tokenizes_nothing_and_ends_the_same(
    here: Path, base: Path, rows_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = adapter_of(rows_file, base)
    kept = sorted(folder.name for folder in (cache / "rows").iterdir())
    assert len(kept) == 3, "training, validation and test"

    def refuse(*given: Any) -> Any:
        raise AssertionError("tokenized again")

    monkeypatch.setattr(preparation, "encode_records", refuse)
    assert adapter_of(rows_file, base) == first
    assert sorted(folder.name for folder in (cache / "rows").iterdir()) == kept


def test_another_row_is_another_set_of_tokens(here: Path, base: Path, rows_file: Path, cache: Path) -> None:
    own = here / "own.jsonl"
    lines = rows_file.read_text(encoding="utf-8").splitlines()
    own.write_text("\n".join(lines), encoding="utf-8")
    adapter_of(own, base)
    kept = {folder.name for folder in (cache / "rows").iterdir()}
    own.write_text("\n".join([*lines[:-1], lines[-1].replace("?", "!", 1)]), encoding="utf-8")
    adapter_of(own, base)
    assert kept < {folder.name for folder in (cache / "rows").iterdir()}


def test_little_is_not_kept(
    here: Path, base: Path, rows_file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "_WORTH_KEEPING", 60.0)
    adapter_of(rows_file, base)
    assert not (cache / "rows").exists()
