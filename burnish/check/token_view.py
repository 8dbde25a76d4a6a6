"""Rows as the model sees them: every token and whether it is trained on, and statistics over all rows."""

from __future__ import annotations

import json
from array import array
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy

from burnish.check.finding import Tally
from burnish.data.rows.row import EncodedRow, Example
from burnish.prepare.encode import Encoded
from burnish.runs.atomic import write_text
from burnish.runs.folder import RunFolder
from burnish.tasks.task import Encoder
from burnish.visible import visible_json


@dataclass(frozen=True, slots=True)
class SeenToken:
    """One token."""

    id: int
    text: str
    is_learned: bool
    is_special: bool


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a row's tokens."""

    name: str
    """The name of the part, for example `chosen`; empty if the row has only one."""
    tokens: list[SeenToken]
    note: str = ""
    """What else is learned, in words: a label, a position."""


@dataclass(frozen=True, slots=True)
class TokenView:
    """One row as tokens."""

    place: str
    passages: list[Passage]
    number: int = 1
    """Of the example among those of its row, from 1."""
    of: int = 1
    """Number of examples of its row: more than one if the answers of a conversation cannot share one sequence."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


def view_row(row: EncodedRow, encoder: Encoder, tokenizer: Any) -> list[TokenView]:
    """All examples of a row as the model sees them: see `view_tokens`."""
    views = [view_tokens(example, encoder, tokenizer) for example in row.examples]
    return [replace(view, number=number, of=len(views)) for number, view in enumerate(views, start=1)]


def view_tokens(example: Any, encoder: Encoder, tokenizer: Any) -> TokenView:
    """An example as the model sees it.

    Args:
        example: made by the encoder.
        encoder: of the task.
        tokenizer: of the model.
    """
    special = set(tokenizer.all_special_ids) | {
        number for number, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    passages = []
    for name, ids, learned, note in encoder.segments(example):
        texts = token_texts(ids, tokenizer)
        tokens = zip(map(int, ids), texts, learned, strict=True)
        seen = [SeenToken(number, text, bool(is_learned), number in special) for number, text, is_learned in tokens]
        passages.append(Passage(name, seen, note))
    return TokenView(example.place if hasattr(example, "place") else example.record.place, passages)


def token_texts(ids: Sequence[int], tokenizer: Any) -> list[str]:
    """The text of each token: the characters that end in it. Empty for a token with only the beginning of a character,
    as byte-level tokenizers have them, for example in Arabic, Hebrew and emoji."""
    numbers = list(map(int, ids))
    decoded = [_decode(tokenizer, [number]) for number in numbers]
    texts = list(decoded)
    begin = 0
    while begin < len(numbers):
        if _BROKEN not in decoded[begin]:
            begin += 1
            continue
        joined = _joined(tokenizer, numbers[begin : begin + _MOST_PIECES])
        if joined is None:
            joined = tokenizer.convert_ids_to_tokens([numbers[begin]])
        texts[begin : begin + len(joined)] = joined
        begin += len(joined)
    pieces = tokenizer.convert_ids_to_tokens(numbers)
    # tokens that decode to nothing by themselves, such as special ones of some tokenizers
    return [text or (piece if not alone else "") for text, alone, piece in zip(texts, decoded, pieces, strict=True)]


_BROKEN = "\ufffd"
_MOST_PIECES = 64
"""Tokens that are decoded together at most, until one of them ends with a whole character."""


def _joined(tokenizer: Any, numbers: Sequence[int]) -> list[str] | None:
    """The characters that end in each of the first tokens, up to the first that ends with a whole one; None if none
    does."""
    texts: list[str] = []
    shown = ""
    for count in range(1, len(numbers) + 1):
        text = _decode(tokenizer, numbers[:count])
        whole = text.rstrip(_BROKEN)
        if not whole.startswith(shown) or _BROKEN in whole:
            return None
        texts.append(whole[len(shown) :])
        shown = whole
        if whole == text:
            return texts
    return None


def _decode(tokenizer: Any, numbers: Sequence[int]) -> str:
    return tokenizer.decode(list(numbers), clean_up_tokenization_spaces=False)


class Lengths(NamedTuple):
    """Lengths of rows in tokens."""

    median: int
    most_of_95: int
    """95 % of the rows are not longer."""
    longest: int


class TokenStatistics:
    """Accumulates token counts over the rows."""

    def __init__(self, stop_ids: Collection[int]) -> None:
        """Starts without rows.

        Args:
            stop_ids: tokens of which each row should learn one; empty where nothing is generated.
        """
        self.tokens = self.trained = 0
        self.longest_place = ""
        self._longest = -1
        self._lengths = array("i")
        self._stop_ids = frozenset(stop_ids)

    def add(self, record: Any, row: EncodedRow, tally: Tally) -> None:
        """Adds a row.

        Args:
            record: the row's record.
            row: the encoded row.
            tally: receives the problems.
        """
        length = sum(example.num_tokens for example in row.examples)
        if length > self._longest:
            self._longest, self.longest_place = length, record.place
        self._lengths.append(length)
        self.tokens += length
        self.trained += sum(example.num_trained for example in row.examples)
        if row.truncated_tokens:
            tally.add("cut", record.place, f"{row.truncated_tokens:,} tokens too many")
        if self._stop_ids and getattr(record, "ends", True) and not self._learns_end(row):
            tally.add("end-not-learned", record.place)

    def join(self, later: TokenStatistics) -> None:
        """Adds the rows that come after these."""
        self.tokens += later.tokens
        self.trained += later.trained
        self._lengths.extend(later._lengths)
        if later._longest > self._longest:
            self._longest, self.longest_place = later._longest, later.longest_place

    def _learns_end(self, row: EncodedRow) -> bool:
        plain = [example for example in row.examples if isinstance(example, Example)]
        return not plain or not all(self._stop_ids.isdisjoint(example.labels[-8:]) for example in plain)

    def lengths(self) -> Lengths:
        """Lengths over all rows; zeros if there are none."""
        if not self._lengths:
            return Lengths(0, 0, 0)
        numbers = numpy.frombuffer(self._lengths, dtype=numpy.int32)
        median, most = numpy.quantile(numbers, [0.5, 0.95])
        return Lengths(round(median), round(most), int(numbers.max()))

    def stretches(self, most: int) -> list[tuple[int, int, int]]:
        """Rows by length: the ends of each of at most `most` stretches of the same width, and its rows."""
        if not self._lengths:
            return []
        numbers = numpy.frombuffer(self._lengths, dtype=numpy.int32)
        low, high = int(numbers.min()), int(numbers.max())
        width = max(1, -(-(high - low + 1) // most))
        counts = numpy.bincount((numbers - low) // width)
        return [(low + at * width, low + (at + 1) * width - 1, int(count)) for at, count in enumerate(counts)]

    @property
    def share(self) -> float:
        """Share of the tokens that are trained on."""
        return self.trained / self.tokens if self.tokens else 0.0


SAVED_ROWS = 8
MOST_TOKENS = 512
"""Of a passage; of longer ones the middle is left out."""


def write_views(folder: RunFolder, training: Encoded, encoder: Encoder, tokenizer: Any) -> None:
    """Writes the first training rows, token by token, into the run folder: a report then needs neither model nor data.

    Args:
        folder: of the run.
        training: the encoded rows.
        encoder: of the task.
        tokenizer: of the base model.
    """
    firsts: dict[int, Any] = {}
    for number, owner in enumerate(training.owners):
        if owner not in firsts:
            if len(firsts) == SAVED_ROWS:
                break
            firsts[owner] = training.examples[number]
    views = [shortened(view_tokens(example, encoder, tokenizer)).to_dict() for example in firsts.values()]
    write_text(folder.views, visible_json(json.dumps(views, ensure_ascii=False, separators=(",", ":"))) + "\n")


def shortened(view: TokenView) -> TokenView:
    """A view whose long passages have lost their middle, and say how much."""
    return replace(view, passages=[part for passage in view.passages for part in _halves(passage)])


def _halves(passage: Passage) -> list[Passage]:
    """The passage, or its beginning and its end."""
    half = MOST_TOKENS // 2
    middle = passage.tokens[half:-half]
    if len(passage.tokens) <= MOST_TOKENS:
        return [passage]
    learned = sum(token.is_learned for token in middle)
    left_out = f"{passage.name} after {len(middle):,} more tokens, {learned:,} of them learned".strip()
    return [replace(passage, tokens=passage.tokens[:half], note=""),
            replace(passage, name=left_out, tokens=passage.tokens[-half:])]  # fmt: skip
