"""What seedling and acorn are both made with: texts without special tokens, and the facts of their cards."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

TOOLS = Path(__file__).parents[3] / "tools"


def load(name: str, file: Path) -> Any:
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def base_model(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(TOOLS), *sys.path])
    return load("tools_base_model", TOOLS / "base_model.py")


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_texts_are_thinned_and_without_special_tokens(base_model: Any, tmp_path: Path) -> None:
    write_lines(tmp_path / "rows.jsonl", [{"text": f"<|x|>number {number}"} for number in range(5)])
    found = list(base_model.texts(tmp_path / "rows.jsonl", every=2, without=["<|x|>"]))
    assert found == ["\nnumber 0", "\nnumber 2", "\nnumber 4"]


@pytest.mark.parametrize("name", ["acorn", "seedling"])
def test_a_card_finds_every_fact_that_it_shows(name: str, base_model: Any, tmp_path: Path) -> None:
    """The events are those that runs write today."""
    run = tmp_path / "run"
    run.mkdir()
    write_lines(
        run / "metrics.jsonl",
        [
            {"event": "StepDone", "step": 4},
            {"event": "Validated", "loss": 2.0, "figures": {"perplexity": 7.389}},
        ],
    )
    write_lines(
        run / "events.jsonl",
        [
            {"event": "DataReady", "tokens": 1000, "validation_rows": 3},
            {"event": "Finished", "seconds": 90.0, "loss_before": 8.0},
        ],
    )
    manifest = {"machine": {"cores": 2, "processor": "Z80"}, "precision": "bf16"}
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(b"1234")
    sizes = {"num_hidden_layers": 5, "hidden_size": 8, "num_attention_heads": 2, "vocab_size": 9}
    config = SimpleNamespace(**sizes, max_position_embeddings=64)
    model = SimpleNamespace(config=config, parameters=lambda: [torch.zeros(3, 4)])
    facts = base_model.card_facts(run, tmp_path, model)
    assert facts["machine"] == "2 cores (Z80), bf16"
    assert (facts["parameters"], facts["bytes"], facts["steps"], facts["minutes"]) == (12, 4, 4, 1.5)
    card = (TOOLS / name / "card.md").read_text(encoding="utf-8")
    for fact in facts:
        assert f"{{{fact}" in card, fact


def test_seedlings_digits_stand_alone(base_model: Any, tmp_path: Path) -> None:
    make_base = load("seedling_make_base", TOOLS / "seedling" / "make_base.py")
    write_lines(tmp_path / "train.jsonl", [{"text": "Anna ordered 42 plums.<|im_end|>"}] * 8)
    tokenizer = make_base.train_tokenizer(tmp_path)
    assert tokenizer.convert_ids_to_tokens(tokenizer("ordered 42").input_ids)[-3:] == ["\u0120", "4", "2"]
    assert tokenizer("<|im_end|>").input_ids == [2]
    assert tokenizer.chat_template
