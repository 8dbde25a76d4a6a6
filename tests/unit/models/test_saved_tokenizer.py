"""A saved tokenizer has the truncation and padding of its base model's file, whatever was tokenized last."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from burnish.models.tokenizer import save_tokenizer

CUTTING = {"direction": "Right", "max_length": 128, "strategy": "LongestFirst", "stride": 0}


def saved_lengths(folder: Path) -> tuple[Any, Any]:
    saved = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    return saved["truncation"], saved["padding"]


def use(tokenizer: Any, call: str) -> None:
    if call == "cutting":
        tokenizer("one two three", truncation=True, max_length=2)
    elif call == "padding":
        tokenizer(["one two three", "four"], padding="max_length", max_length=9, truncation=True)
    elif call == "plain":
        tokenizer("one two three")


@pytest.mark.parametrize("call", ["none", "plain", "cutting", "padding"])
@pytest.mark.parametrize("has_lengths", [False, True])
def test_it_is_saved_as_it_was_loaded(call: str, has_lengths: bool, tiny_tokenizer: Any, tmp_path: Path) -> None:
    tiny_tokenizer.pad_token = tiny_tokenizer.eos_token
    tiny_tokenizer.save_pretrained(tmp_path / "base")
    if has_lengths:
        file = str(tmp_path / "base" / "tokenizer.json")
        backend = Tokenizer.from_file(file)
        backend.enable_truncation(128)
        backend.enable_padding(length=64, pad_id=3, pad_token="x")
        backend.save(file)
    before = saved_lengths(tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "base")
    use(tokenizer, call)
    state = tokenizer.backend_tokenizer.truncation, tokenizer.backend_tokenizer.padding
    (tmp_path / "saved").mkdir()
    save_tokenizer(tokenizer, tmp_path / "saved")
    assert saved_lengths(tmp_path / "saved") == before
    assert (before[0] == CUTTING) is has_lengths
    assert (tokenizer.backend_tokenizer.truncation, tokenizer.backend_tokenizer.padding) == state


def test_a_slow_tokenizer_is_saved_as_it_is(tmp_path: Path) -> None:
    saved: list[str] = []

    class Slow:
        name_or_path = ""
        save_pretrained: Callable[[str], None] = staticmethod(saved.append)

    save_tokenizer(Slow(), tmp_path)
    assert saved == [str(tmp_path)]
