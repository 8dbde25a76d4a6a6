"""The end tokens that a base model brings along: which files name them, and which of them count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig

from burnish.errors import ModelError
from burnish.models.ends import own_ends

CONFIG = LlamaConfig(vocab_size=300, eos_token_id=[2, 1])


def written(folder: Path, text: str) -> Path:
    """The folder with this text as its generation settings."""
    (folder / "generation_config.json").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("settings", "ends"),
    [
        ({"eos_token_id": [2, 1]}, [2, 1]),
        ({"eos_token_id": 2}, [2]),
        ({"eos_token_id": None}, []),
        ({"temperature": 0.6}, []),
        ({"eos_token_id": [2, 2, 0]}, [2, 0]),
        ({"eos_token_id": [2, 77, 9999]}, [2]),
    ],
    ids=["several", "one", "null", "none", "repeated", "ordinary text and no token"],
)
def test_they_are_those_of_the_generation_settings(
    settings: dict[str, Any], ends: list[int], tmp_path: Path, tiny_tokenizer: Any
) -> None:
    assert own_ends(written(tmp_path, json.dumps(settings)), CONFIG, tiny_tokenizer) == ends


def test_without_settings_the_config_names_them(tmp_path: Path, tiny_tokenizer: Any) -> None:
    assert own_ends(tmp_path, CONFIG, tiny_tokenizer) == [2, 1]
    assert own_ends(tmp_path / "config.json", CONFIG, tiny_tokenizer) == [2, 1]
    # the number of its class, which nobody set, is ordinary text here
    assert own_ends(tmp_path, LlamaConfig(vocab_size=300, eos_token_id=80), tiny_tokenizer) == []


@pytest.mark.parametrize("text", ['{"eos_token_id": 2, }', "[2]", "", '{"eos_token_id": "<|im_end|>"}'])
def test_settings_that_cannot_be_read_are_refused(text: str, tmp_path: Path, tiny_tokenizer: Any) -> None:
    with pytest.raises(ModelError) as refused:
        own_ends(written(tmp_path, text), CONFIG, tiny_tokenizer)
    assert "generation settings" in refused.value.what
    assert "generation_config.json" in refused.value.what + refused.value.fix
