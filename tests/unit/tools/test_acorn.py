"""Acorn's tokenizer and layout, made from a few sentences."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[3] / "tools" / "acorn" / "make_base.py"


@pytest.fixture(scope="module")
def make_base() -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("acorn_make_base", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tokenizer(make_base: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The tokenizer, saved and loaded again."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("acorn")
    texts = ["Anna ordered 42 plums on Monday. Who ordered the plums ? Anna ."] * 8
    (folder / "train.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    make_base.train_tokenizer(folder).save_pretrained(folder / "saved")
    return AutoTokenizer.from_pretrained(folder / "saved")


def test_words_digits_and_places(tokenizer: Any) -> None:
    text = "Anna ordered 42 plums."
    encoded = tokenizer(text, return_offsets_mapping=True)
    assert tokenizer.convert_ids_to_tokens(encoded.input_ids) == (
        ["[CLS]", "\u0120Anna", "\u0120ordered", "\u01204", "2", "\u0120plums", ".", "[SEP]"]
    )
    places = [text[start:end] for start, end in encoded.offset_mapping[1:-1]]
    assert places == ["Anna", "ordered", "4", "2", "plums", "."]


def test_a_list_of_words_has_the_tokens_of_the_text(tokenizer: Any) -> None:
    words = ["Anna", "ordered", "42", "plums"]
    encoded = tokenizer(words, is_split_into_words=True)
    assert encoded.input_ids == tokenizer(" ".join(words)).input_ids
    assert encoded.word_ids() == [None, 0, 1, 2, 2, 3, None]


def test_a_pair_and_a_mask(tokenizer: Any) -> None:
    pair = tokenizer.convert_ids_to_tokens(tokenizer("Who ?", "Anna").input_ids)
    assert pair == ["[CLS]", "\u0120Who", "\u0120?", "[SEP]", "\u0120Anna", "[SEP]"]
    masked = tokenizer("Anna [MASK] plums").input_ids
    assert masked == [tokenizer.mask_token_id if place == 2 else token for place, token in enumerate(masked)]
    assert tokenizer.convert_ids_to_tokens(masked)[1:4] == ["\u0120Anna", "[MASK]", "\u0120plums"]


def test_every_block_sees_the_whole_text(make_base: Any, tokenizer: Any) -> None:
    model = make_base.random_model(tokenizer, seed=0)
    assert set(model.config.layer_types) == {"full_attention"}
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert 2_200_000 < model.num_parameters() < 2_400_000
