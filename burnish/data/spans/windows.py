"""Splits a question with its text into windows of tokens that keep their character offsets."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy

from burnish.data.rows.records import SpanRecord
from burnish.data.rows.row import RowError
from burnish.models.tokenizer import end_texts

_MIN_ROOM = 8
"""Fewest tokens of the text per window."""


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """The question with a part of the text, in tokens."""

    input_ids: list[int]
    token_types: list[int] | None
    """0 for tokens of the question, 1 for those of the text; None if the tokenizer has no token types."""
    begin: int
    """Position of the first token of the text."""
    characters: numpy.ndarray
    """`[tokens of the text, 2]` int64: first character and end in the record's context; equal for a token that is only
    whitespace."""
    nothing: int
    """Position that represents "no answer here"."""
    first: int
    """Position of the answer's first token; `nothing` if the complete answer is not in this window."""
    last: int
    """Position of the answer's last token."""
    record: SpanRecord

    @property
    def num_tokens(self) -> int:
        """Number of tokens."""
        return len(self.input_ids)

    @property
    def num_trained(self) -> int:
        """A window is one term of the loss."""
        return 1

    @property
    def place(self) -> str:
        """`file:line` of its row."""
        return self.record.place

    @property
    def text(self) -> str:
        """The part of the context in this window."""
        return self.record.context[self.characters[0, 0] : self.characters[-1, 1]]

    def cut(self, first: int, last: int) -> str:
        """The text from one token to another, exactly as in the context.

        Args:
            first: position of the first token.
            last: position of the last token, inclusive.
        """
        begin, end = self.place_of(first, last)
        return self.record.context[begin:end]

    def place_of(self, first: int, last: int) -> tuple[int, int]:
        """First character and end, in the context, of the text from one token to another."""
        return int(self.characters[first - self.begin, 0]), int(self.characters[last - self.begin, 1])


@dataclass(frozen=True, slots=True)
class _Pair:
    """Question and text as one sequence of any length."""

    lead: list[int]
    """Everything before the text."""
    text: list[int]
    tail: list[int]
    types: tuple[list[int], list[int], list[int]] | None
    """Token types of lead, text and tail."""
    characters: numpy.ndarray


class SpanFormat:
    """Encodes questions about texts as windows.

    A tokenizer with a template for two texts (`[CLS] a [SEP] b [SEP]`) uses it. Others, those of decoders, are changed
    to end each text by EOS (`end_texts`), and the last EOS, which attends to everything, represents "no answer".

    Args:
        tokenizer: a fast tokenizer, which knows the character offsets of its tokens.
        stride: tokens that neighboring windows share, at most half of a window's room.
    """

    def __init__(self, tokenizer: Any, stride: int) -> None:
        self._tokenizer = tokenizer
        self._stride = stride
        self._has_template = _separates(tokenizer) or (end_texts(tokenizer, always=True) and _separates(tokenizer))
        plain = tokenizer("a", add_special_tokens=False)["input_ids"]
        ids = tokenizer("a")["input_ids"]
        self._begin = ids[: len(ids) - len(plain)]
        end = tokenizer.eos_token_id
        self._end = tokenizer("\n", add_special_tokens=False)["input_ids"] if end is None else [end]

    def encode(self, record: SpanRecord, context: int) -> list[Window]:
        """All windows of a record, each at most `context` tokens. The first of several accepted answers is trained on.

        Raises:
            RowError: the question leaves no room for the text, or no window contains the answer.
        """
        pair = self._pair(record)
        room = context - len(pair.lead) - len(pair.tail)
        if not pair.text:
            raise RowError("the context has no tokens")
        if room < min(_MIN_ROOM, len(pair.text)):
            raise RowError(
                f"the question is too long: it takes {len(pair.lead)} tokens and leaves room for {max(0, room)} "
                "tokens of the text"
            )
        answer = _token_span(pair.characters, record)
        step = room - min(self._stride, room // 2)
        starts = range(0, max(1, len(pair.text) - room + step), step)
        windows = [self._window(pair, begin, room, answer, record) for begin in starts]
        if answer is not None and all(window.first == window.nothing for window in windows):
            length = answer[1] - answer[0] + 1
            raise RowError(f"the answer is {length} tokens, and no window of {room} tokens contains all of it")
        return windows

    def _pair(self, record: SpanRecord) -> _Pair:
        question, options = record.question.strip(), {"return_offsets_mapping": True, "verbose": False}
        if not self._has_template:
            asked = self._tokenizer(question, add_special_tokens=False, verbose=False)["input_ids"]
            encoded = self._tokenizer(record.context, add_special_tokens=False, **options)
            characters = _trimmed(encoded["offset_mapping"], record.context)
            return _Pair([*self._begin, *asked, *self._end], encoded["input_ids"], self._end, None, characters)
        encoded = self._tokenizer(question, record.context, **options)
        ids, parts = encoded["input_ids"], encoded.sequence_ids()
        begin = parts.index(1) if 1 in parts else len(parts)
        end = len(parts) - parts[::-1].index(1) if 1 in parts else begin
        types = encoded.get("token_type_ids")
        characters = _trimmed(encoded["offset_mapping"][begin:end], record.context)
        split = None if types is None else (types[:begin], types[begin:end], types[end:])
        return _Pair(ids[:begin], ids[begin:end], ids[end:], split, characters)

    def _window(self, pair: _Pair, begin: int, room: int, answer: tuple[int, int] | None, record: SpanRecord) -> Window:
        """The window whose text begins at token `begin` of the context."""
        end, lead = min(begin + room, len(pair.text)), len(pair.lead)
        ids = [*pair.lead, *pair.text[begin:end], *pair.tail]
        types = None if pair.types is None else [*pair.types[0], *pair.types[1][begin:end], *pair.types[2]]
        cls = self._tokenizer.cls_token_id
        nothing = pair.lead.index(cls) if cls in pair.lead else len(ids) - 1
        is_inside = answer is not None and begin <= answer[0] and answer[1] < end
        first, last = (lead + part - begin for part in answer) if is_inside and answer else (nothing, nothing)
        return Window(ids, types, lead, pair.characters[begin:end], nothing, first, last, record)


def _separates(tokenizer: Any) -> bool:
    """Whether the tokenizer puts something between two texts and after them."""
    between = tokenizer("a", "b").sequence_ids()
    return between[-1] is None and None in between[between.index(0) : between.index(1)]


def _trimmed(offsets: list[tuple[int, int]], context: str) -> numpy.ndarray:
    """`[tokens, 2]` int64: the character offsets of each token, without surrounding whitespace (byte-level tokens
    include the space before a word) and with combining marks after the last character (some tokenizers drop
    accents)."""
    characters = numpy.array(offsets, dtype=numpy.int64).reshape(-1, 2)
    for number, (start, end) in enumerate(offsets):
        piece = context[start:end]
        if piece != piece.strip():
            start += len(piece) - len(piece.lstrip())
            end = start + len(piece.strip())
        most = offsets[number + 1][0] if number + 1 < len(offsets) else len(context)
        while start < end < most and unicodedata.category(context[end]).startswith("M"):
            end += 1
        characters[number] = start, end
    return characters


def _token_span(characters: numpy.ndarray, record: SpanRecord) -> tuple[int, int] | None:
    """First and last token of the text that overlap the answer; None without an answer.

    Raises:
        RowError: no token overlaps the answer.
    """
    if not record.answers:
        return None
    start, text = record.answers[0]
    touched = (
        (characters[:, 1] > start) & (characters[:, 0] < start + len(text)) & (characters[:, 0] < characters[:, 1])
    )
    tokens = numpy.flatnonzero(touched)
    if not len(tokens):
        raise RowError("the tokenizer has no token for the answer")
    return int(tokens[0]), int(tokens[-1])
