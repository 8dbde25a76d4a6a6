"""Rows token by token: each token's own characters; and for a report, long rows lose their middle and say so."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from burnish.check.token_view import (
    MOST_TOKENS,
    Passage,
    SeenToken,
    TokenView,
    shortened,
    token_texts,
    view_tokens,
)
from burnish.data.rows.records import TaggedRecord
from burnish.data.tags.words import WordPieces
from burnish.tasks.tag import TagEncoder, Tags
from tests.tiny_models import make_tokenizer
from tests.tiny_taggers import byte_level as roberta_pieces
from tests.tiny_taggers import word_pieces
from tests.unit.data.tiny_tokenizers import byte_level


def view_of(length: int, learned: int) -> TokenView:
    """A row of so many tokens, the last of which are learned."""
    tokens = [SeenToken(number, str(number), number >= length - learned, False) for number in range(length)]
    return TokenView("rows.jsonl:1", [Passage("prompt", tokens, "a note")])


def test_a_row_that_fits_is_kept_whole() -> None:
    view = view_of(MOST_TOKENS, 3)
    assert shortened(view) == view


def test_a_long_row_keeps_its_beginning_and_its_end() -> None:
    first, last = shortened(view_of(2000, 1000)).passages
    assert (first.name, first.note) == ("prompt", "")
    assert (last.name, last.note) == ("prompt after 1,488 more tokens, 744 of them learned", "a note")
    assert [token.id for token in first.tokens] == list(range(256))
    assert [token.id for token in last.tokens] == list(range(1744, 2000))


def test_a_passage_without_a_name_says_what_is_left_out() -> None:
    view = view_of(1000, 0)
    nameless = TokenView(view.place, [Passage("", view.passages[0].tokens)])
    assert shortened(nameless).passages[1].name == "after 488 more tokens, 0 of them learned"


TEXTS = ["مرحبا بالعالم", "שלום עולם", "a 😀 b 👩‍👩‍👧 é", "日本語とหนังสือ", "plain", "half \udc80 gone"[:4]]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["byte level", "byte fallback"])
def test_the_texts_of_all_tokens_are_the_text(text: str, kind: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    texts = token_texts(ids, tokenizer)
    assert "".join(texts).strip() == text.strip()
    assert not any("\ufffd" in one for one in texts)


def test_a_character_is_shown_by_the_token_that_ends_it() -> None:
    tokenizer = byte_level([], "<|end|>")
    ids = tokenizer("é😀", add_special_tokens=False)["input_ids"]
    assert token_texts(ids, tokenizer) == ["", "é", "", "", "", "😀"]


def test_half_a_character_alone_is_shown_as_its_piece() -> None:
    tokenizer = byte_level([], "<|end|>")
    first = tokenizer("é", add_special_tokens=False)["input_ids"][:1]
    assert token_texts([*first, *tokenizer("ab", add_special_tokens=False)["input_ids"]], tokenizer) == ["Ã", "a", "b"]


def byte_fallback() -> Any:
    """Characters that are no pieces are bytes, as in the tokenizers of Llama 2 and Gemma."""
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{number:02X}>" for number in range(256)),
        "▁",
        "a",
        "b",
        "p",
        "l",
        "i",
        "n",
    ]
    core = Tokenizer(
        models.BPE({piece: n for n, piece in enumerate(pieces)}, [], unk_token="<unk>", byte_fallback=True)
    )
    core.normalizer = normalizers.Replace(" ", "▁")
    core.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>")


TOKENIZERS = {"byte level": lambda: byte_level([], "<|end|>"), "byte fallback": byte_fallback}


@pytest.mark.parametrize("pieces", ["first", "last"])
@pytest.mark.parametrize("make", [word_pieces, roberta_pieces, make_tokenizer])
def test_the_deciding_pieces_of_words_are_learned(make: Any, pieces: str) -> None:
    tokenizer = make()
    encoder = TagEncoder(tokenizer, Tags(["O", "B-LOC"], "IOB2"), pieces)
    record = TaggedRecord(("Oslo", "unbelievably", "sings"), ("B-LOC", "O", "O"), "a.jsonl:1")
    (example,) = encoder.encode(record, 64).examples
    (passage,) = view_tokens(example, encoder, tokenizer).passages
    deciding = [ids[0 if pieces == "first" else -1] for ids in WordPieces(tokenizer).cut(record.tokens).of_words]
    assert [token.id for token in passage.tokens if token.is_learned] == deciding
    assert passage.note == "tags: B-LOC O O"
    if pieces == "first":
        learned = [token.text.strip() for token in passage.tokens if token.is_learned]
        pairs = [pair for pair in zip(record.tokens, learned, strict=True) if pair[1] != tokenizer.unk_token]
        assert all(word.lower().startswith(text.lower()) for word, text in pairs)
