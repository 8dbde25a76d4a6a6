"""Rows and tokens on the disk: the run is that of rows in memory, to the last bit, also when it was stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from burnish.data.rows import packed
from burnish.data.tokens.file_column import FileColumn
from burnish.data.tokens.tokens import TokenExamples
from burnish.errors import Interrupted
from burnish.prepare import encode
from burnish.prepare.context import prepare
from burnish.recipe.load import load_recipe, recipe_from_saved
from burnish.recipe.schema import Recipe
from burnish.runs.events import Event, Resolved
from burnish.runs.folder import RunFolder
from burnish.workflows.resume import resume
from burnish.workflows.train import train
from tests.numeric.test_resume import evaluation_text, logged, result_bytes, stopper
from tests.tiny_data import write_rows


@pytest.fixture(autouse=True)
def packed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are packed, and tokens are cached however fast they were made."""
    monkeypatch.setattr(packed, "_FEW_ON_DISK", 5)
    monkeypatch.setattr(packed, "_BLOCK_ON_DISK", 3)
    monkeypatch.setattr(encode, "_WORTH_KEEPING", -1.0)


def recipe_for(rows: Path, base: Path, runs: Path, in_memory: bool) -> Recipe:
    """Six steps of LoRA."""
    flags = {
        "data.path": str(rows),
        "data.keep_in_memory": in_memory,
        "model.name": str(base),
        "runs": str(runs),
        "name": "made",
        "method": "lora",
        "model.device": "cpu",
        "model.precision": "fp32",
        "train.max_steps": 6,
        "batch.tokens": 128,
        "evaluate.every": 2,
        "evaluate.answers": 0,
        "evaluate.general": "none",
        "data.context": 64,
    }
    return load_recipe(None, flags, []).recipe


def test_a_run_on_rows_from_the_disk_is_that_on_rows_in_memory(
    tiny_model: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, base = write_rows(tmp_path / "rows.jsonl"), tiny_model("llama")
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "one"))
    plain = train(recipe_for(rows, base, tmp_path / "plain", in_memory=True)).folder
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "other"))
    choices: list[Event] = []
    with pytest.raises(Interrupted):
        train(recipe_for(rows, base, tmp_path / "disk", in_memory=False), listeners=[stopper(3), choices.append])
    assert recipe_from_saved(RunFolder(tmp_path / "disk" / "made").recipe).data.keep_in_memory is False
    assert not [one for one in choices if isinstance(one, Resolved) and one.option == "data.keep_in_memory"]
    encoded = prepare(recipe_for(rows, base, tmp_path / "seen", in_memory=False), choices.append).training.examples
    assert isinstance(encoded, TokenExamples) and isinstance(encoded.columns["ids"], FileColumn)
    found = resume(RunFolder(tmp_path / "disk" / "made")).folder
    assert result_bytes(found, "lora") == result_bytes(plain, "lora")
    assert logged(found) == logged(plain)
    assert evaluation_text(found) == evaluation_text(plain)
