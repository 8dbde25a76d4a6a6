"""Plain text: every token trained, nothing lost."""

from __future__ import annotations

import pytest

from burnish.data.rows.records import TextRecord
from burnish.data.rows.row import IGNORED, RowError
from burnish.data.tokens.text import TextFormat
from tests.unit.data.tiny_tokenizers import byte_level, sentence_piece

TEXT = "How are you? Fine, thank you. And now? Still fine."


def test_every_token_is_trained_and_eos_ends_the_text() -> None:
    tokenizer = byte_level([], eos="</s>", bos="<s>")
    (example,) = TextFormat(tokenizer).encode(TextRecord(TEXT, True, "a.txt:1"), 1000).examples
    assert example.input_ids == [*tokenizer(TEXT)["input_ids"], tokenizer.eos_token_id]
    assert example.labels == example.input_ids
    assert example.place == "a.txt:1"


def test_a_text_that_goes_on_is_not_ended() -> None:
    tokenizer = byte_level([], eos="</s>")
    (example,) = TextFormat(tokenizer).encode(TextRecord(TEXT, False, "a.txt:1"), 1000).examples
    assert tokenizer.decode(example.input_ids) == TEXT


@pytest.mark.parametrize("text", [TEXT, "<s>" + TEXT])
def test_bos_stands_once_in_front_of_every_chunk_and_is_not_trained(text: str) -> None:
    tokenizer = sentence_piece([], eos="</s>", bos="<s>")
    examples = TextFormat(tokenizer).encode(TextRecord(text, True, "a.txt:1"), 4).examples
    assert len(examples) > 1
    assert all(example.input_ids[0] == tokenizer.bos_token_id for example in examples)
    assert all(example.labels == [IGNORED, *example.input_ids[1:]] for example in examples)
    joined = [token for example in examples for token in example.input_ids[1:]]
    assert joined.count(tokenizer.bos_token_id) == 0
    assert joined[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(joined[:-1]).strip() == TEXT


def test_an_eos_that_ends_the_text_already_is_not_doubled() -> None:
    tokenizer = byte_level([], eos="</s>")
    (example,) = TextFormat(tokenizer).encode(TextRecord(TEXT + "</s>", True, "a.txt:1"), 1000).examples
    assert example.input_ids.count(tokenizer.eos_token_id) == 1


@pytest.mark.parametrize("context", range(3, 40))
def test_chunks_fit_hold_everything_in_order_and_each_has_a_trained_token(context: int) -> None:
    tokenizer = byte_level([], eos="</s>")
    examples = TextFormat(tokenizer).encode(TextRecord(TEXT, True, "a.txt:1"), context).examples
    joined = [token for example in examples for token in example.input_ids]
    assert joined == [*tokenizer(TEXT)["input_ids"], tokenizer.eos_token_id]
    assert all(len(example.input_ids) <= context and example.num_trained > 0 for example in examples)


def test_a_context_that_cannot_hold_a_prediction_is_refused() -> None:
    with pytest.raises(RowError, match="context is too short"):
        TextFormat(byte_level([], eos="</s>")).encode(TextRecord(TEXT, True, "a.txt:1"), 2)


@pytest.mark.parametrize("text", ["", " \n"])
def test_no_text_is_refused(text: str) -> None:
    with pytest.raises(RowError, match="the text is empty"):
        TextFormat(byte_level([], eos="</s>")).encode(TextRecord(text, True, "a.txt:1"), 8)


def test_a_single_token_is_refused() -> None:
    with pytest.raises(RowError, match="single token"):
        TextFormat(byte_level([], eos="</s>")).encode(TextRecord("a", False, "a.txt:1"), 8)


def test_prompts_begin_as_training_began() -> None:
    tokenizer = sentence_piece([], eos="</s>", bos="<s>")
    text_format = TextFormat(tokenizer)
    (example,) = text_format.encode(TextRecord(TEXT, False, "a.txt:1"), 1000).examples
    assert text_format.prompt_ids(TEXT) == example.input_ids
    assert text_format.prompt_ids("<s>" + TEXT)[:2] != [tokenizer.bos_token_id] * 2
