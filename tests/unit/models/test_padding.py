"""A pad token that is not EOS, without changing the shape of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer, BertConfig, LlamaConfig, PreTrainedTokenizerFast

from burnish.errors import ModelError
from burnish.models.tokenizer import check_vocabulary, end_texts, ensure_pad_token, missing_rows, pad_of_classifier
from tests.snapshots import check_text
from tests.tiny_models import make_tokenizer


def without_pad(**changes: Any) -> Any:
    """A tokenizer of its own, without a pad token."""
    tokenizer = make_tokenizer()
    tokenizer.pad_token = None
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    return tokenizer


def test_a_pad_token_of_its_own_is_left_alone() -> None:
    tokenizer = make_tokenizer()
    tokenizer.pad_token = "<|im_start|>"
    before = tokenizer.pad_token_id
    assert ensure_pad_token(tokenizer, len(tokenizer) + 10) == []
    assert tokenizer.pad_token_id == before


def test_a_token_made_for_padding_is_found() -> None:
    tokenizer = without_pad()
    (note,) = ensure_pad_token(tokenizer, len(tokenizer))
    assert tokenizer.pad_token == "<|pad|>"
    assert "`<|pad|>` is used" in note


def test_a_pad_token_without_a_row_is_replaced() -> None:
    tokenizer = make_tokenizer()
    rows = len(tokenizer)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert tokenizer.pad_token_id == rows
    ensure_pad_token(tokenizer, rows)
    assert tokenizer.pad_token == "<|pad|>"


def test_a_pad_token_that_gets_a_row_stays() -> None:
    tokenizer = make_tokenizer()
    rows = len(tokenizer)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.add_tokens(["<new>"])
    assert ensure_pad_token(tokenizer, rows) == []
    assert tokenizer.pad_token == "[PAD]"


def test_an_embedding_may_be_larger_than_the_tokenizer() -> None:
    tokenizer = make_tokenizer()
    check_vocabulary(tokenizer, len(tokenizer) + 64, "padded")
    check_vocabulary(tokenizer, len(tokenizer), "exact")
    with pytest.raises(ModelError, match="300 tokens, and the embedding has 299 rows"):
        check_vocabulary(tokenizer, len(tokenizer) - 1, "cut")


def test_added_tokens_do_not_count_as_vocabulary() -> None:
    tokenizer = make_tokenizer()
    rows = len(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<extra>"]})
    check_vocabulary(tokenizer, rows, "with tokens of its class")
    assert missing_rows(tokenizer, rows) == {rows: "<extra>"}


def test_eos_as_pad_token_is_replaced() -> None:
    tokenizer = make_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    assert len(ensure_pad_token(tokenizer, len(tokenizer))) == 1
    assert tokenizer.pad_token_id != tokenizer.eos_token_id


def rename_pad(tokenizer: Any, name: str) -> Any:
    """The same tokenizer whose token for padding is called otherwise, so that it is not found by name."""
    text = tokenizer.backend_tokenizer.to_str().replace("<|pad|>", name)
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(text), eos_token="<|im_end|>")


def test_the_unknown_token_is_next() -> None:
    tokenizer = rename_pad(make_tokenizer(), "<|odd|>")
    tokenizer.unk_token = "<|odd|>"
    ensure_pad_token(tokenizer, len(tokenizer))
    assert tokenizer.pad_token == "<|odd|>"


def test_a_spare_row_of_the_embedding_is_next() -> None:
    tokenizer = rename_pad(make_tokenizer(), "<|odd|>")
    size = len(tokenizer)
    ensure_pad_token(tokenizer, size + 1)
    assert tokenizer.pad_token == "<|pad|>"
    assert tokenizer.pad_token_id == size < size + 1
    assert tokenizer("a<|pad|>b").input_ids[1] == size


def test_with_no_room_eos_pads_and_the_embedding_keeps_its_size() -> None:
    tokenizer = rename_pad(make_tokenizer(), "<|odd|>")
    size = len(tokenizer)
    (note,) = ensure_pad_token(tokenizer, size)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert len(tokenizer) == size
    check_text(note)


def test_a_known_name_outside_the_embedding_is_not_taken() -> None:
    """A pad id beyond the last row would be an index error in the first padded batch."""
    tokenizer = rename_pad(make_tokenizer(), "<|odd|>")
    size = len(tokenizer)
    tokenizer.add_special_tokens({"extra_special_tokens": ["[PAD]"]})
    ensure_pad_token(tokenizer, size)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id < size


def test_unknown_that_is_eos_is_not_taken() -> None:
    tokenizer = rename_pad(make_tokenizer(), "<|odd|>")
    tokenizer.unk_token = tokenizer.eos_token
    size = len(tokenizer)
    ensure_pad_token(tokenizer, size + 5)
    assert tokenizer.pad_token_id == size


def test_the_new_pad_token_is_saved_with_the_tokenizer(tmp_path: Path) -> None:
    tokenizer = rename_pad(make_tokenizer(), "<|odd|>")
    size = len(tokenizer)
    ensure_pad_token(tokenizer, size + 5)
    tokenizer.save_pretrained(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).pad_token_id == size


def test_a_decoder_that_labels_keeps_the_pad_token_of_its_config() -> None:
    tokenizer: Any = make_tokenizer()
    config = LlamaConfig(pad_token_id=tokenizer.eos_token_id)
    assert pad_of_classifier(config, "AutoModelForCausalLM") is None
    assert pad_of_classifier(BertConfig(architectures=["BertModel"]), "AutoModelForSequenceClassification") is None
    fixed = pad_of_classifier(config, "AutoModelForSequenceClassification")
    assert ensure_pad_token(tokenizer, len(tokenizer), fixed) == []
    assert tokenizer.pad_token == tokenizer.eos_token
    assert ensure_pad_token(tokenizer, len(tokenizer), -1) != [], "it has no row"


@pytest.mark.parametrize(("added", "last"), [([], "a"), (["</s>"], "a"), (["<|endoftext|>", "</s>"], "<|endoftext|>")])
def test_where_eos_pads_a_text_ends_in_another_token_that_ends_texts(added: list[str], last: str) -> None:
    """Of those with a row in the embedding: the second has none."""
    text = make_tokenizer().backend_tokenizer.to_str()
    for number, name in enumerate(added[:-1]):
        text = text.replace(("<|pad|>", "<|im_start|>")[number], name)
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(text), eos_token="<|im_end|>", pad_token="<|im_end|>"
    )
    tokenizer.add_special_tokens({"extra_special_tokens": added})
    assert end_texts(tokenizer)
    assert tokenizer.convert_ids_to_tokens(tokenizer("a")["input_ids"])[-1] == last
    assert end_texts(tokenizer, always=True)
    assert tokenizer.convert_ids_to_tokens(tokenizer("a")["input_ids"])[-1] == "<|im_end|>"
