"""A generated answer without the header that the template writes before answers."""

from __future__ import annotations

from typing import Any

import pytest

import tests.unit.data.chat_templates as styles
from burnish.data.chat.format import ChatFormat


def with_header(header: str) -> tuple[Any, ChatFormat]:
    """A tokenizer and the format of a template that writes `header` before an answer's words."""
    template = styles.NO_PROMPT.replace(
        "message.content", f"('{header}' if message.role == 'assistant' else '') + message.content"
    ).replace('message.role + "\n"', '(message.role + "\n" if message.role == "user" else "")')
    template += '{% if add_generation_prompt %}{{- "<|im_start|>" }}{% endif %}'
    tokenizer = styles.chatml(template)
    return tokenizer, ChatFormat(tokenizer)


@pytest.mark.parametrize("header", ["to all: ", "F", "é: "])
def test_words_are_visible_from_behind_the_header(header: str) -> None:
    tokenizer, chat_format = with_header(header)
    start, words = (tokenizer(text)["input_ids"] for text in (header, "?Fine."))
    assert chat_format.visible_ids(start + words) == words
    assert chat_format.visible_ids(start + words[:1]) == words[:1]
    for length in range(len(start) + 1):
        assert chat_format.visible_ids(start[:length]) == [], "may still become the header"


def test_an_answer_that_begins_otherwise_is_visible_as_it_is() -> None:
    tokenizer, chat_format = with_header("to all: ")
    for text in ("Fine.", "to you: Fine.", "é"):
        ids = tokenizer(text)["input_ids"]
        assert chat_format.visible_ids(ids) == ids
    tokenizer, chat_format = with_header("F")
    fine = tokenizer("Fine")["input_ids"]
    assert len(fine) == 1
    assert chat_format.visible_ids(fine) == fine, "the header is a part of the token"


def test_without_a_header_everything_is_visible() -> None:
    tokenizer = styles.chatml()
    ids = tokenizer("Fine.")["input_ids"]
    assert ChatFormat(tokenizer).visible_ids(ids) == ids
    assert ChatFormat(tokenizer).visible_ids([]) == []
