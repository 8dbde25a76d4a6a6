"""The chat template of a tokenizer: messages to one text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from functools import cached_property
from typing import Any

from jinja2 import TemplateError

from burnish.data.messages import Message
from burnish.data.row import RowError
from burnish.data.template_pieces import TemplatePieces, find_pieces

# Templates that write today's date would give other tokens on another day, and a resumed run other bytes.
_TODAY = date(2026, 1, 1)
_ASKS_TODAY = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")
_REFUSALS = (TemplateError, TypeError, ValueError, LookupError, AttributeError)


class ChatTemplate:
    """Renders messages with a tokenizer's own template."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._is_dated = "strftime_now" in str(tokenizer.chat_template)

    @property
    def fixed_date(self) -> str | None:
        """The date that is written instead of today's, where the template asks for today's."""
        return _TODAY.isoformat() if self._is_dated else None

    def render(self, messages: Sequence[Message], tools: list[Message] | None, answer_next: bool) -> str:
        """The text of `messages`; with `answer_next`, up to where the next answer begins.

        Raises:
            RowError: the template refuses these messages; its own message is given.
        """
        text = self._pieces.text(messages, answer_next) if tools is None and self._pieces else None
        return self._write(messages, answer_next, tools) if text is None else text

    @cached_property
    def _pieces(self) -> TemplatePieces | None:
        return find_pieces(self._tokenizer.get_chat_template(), self._write)

    def _write(self, messages: Sequence[Message], answer_next: bool, tools: list[Message] | None = None) -> str:
        try:
            text = self._tokenizer.apply_chat_template(
                list(messages),
                tools=tools,
                chat_template=self._dateless(tools) if self._is_dated else None,
                tokenize=False,
                add_generation_prompt=answer_next,
            )
        except _REFUSALS as refusal:
            raise RowError(f"the chat template refuses the conversation: {refusal}") from refusal
        return str(text)

    def _dateless(self, tools: list[Message] | None) -> str:
        source = self._tokenizer.get_chat_template(tools=tools)
        return _ASKS_TODAY.sub(lambda asked: repr(_TODAY.strftime(asked[2])), source)
