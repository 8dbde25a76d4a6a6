"""Texts that spell the special tokens of a model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any


class SpecialTokens:
    """Finds special tokens of a tokenizer where they are spelled out in a text."""

    def __init__(self, tokenizer: Any, lead: str) -> None:
        """Looks at the tokenizer.

        Args:
            tokenizer: of transformers.
            lead: the text of the tokens that it puts in front of every text by itself.
        """
        spelled = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        spelled = {text for text in (*spelled, *tokenizer.all_special_tokens) if len(text.strip()) > 1}
        self._pattern = (
            re.compile("|".join(map(re.escape, sorted(spelled, key=len, reverse=True)))) if spelled else None
        )
        self._lead = lead

    def found_in(self, text: str) -> Iterator[tuple[str, str]]:
        """(kind of defect, what was seen) for a text."""
        if self._lead and text.startswith(self._lead):
            yield "double-bos", self._lead
            text = text[len(self._lead) :]
        if self._pattern and (found := self._pattern.search(text)):
            yield "special-tokens-in-text", found[0]
