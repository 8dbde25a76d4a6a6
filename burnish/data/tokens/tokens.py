"""Tokenization: a tokenizer and the tokens it adds by itself, and batched encoding of many rows."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import cached_property
from typing import Any, TypeVar

from burnish.data.rows.row import RowError
from burnish.data.tokens.byte_pairs import BytePairs, encode_plainly, find_byte_pairs

_FAST_FROM = 2_000_000
"""Number of characters from which a faster encoder is worth its setup time."""


class Tokens:
    """Wraps a tokenizer for encoding without automatic special tokens.

    Attributes:
        lead: the ids that the tokenizer adds before every text by default (usually BOS; empty for many).
        bos_id, eos_id: ids of BOS and EOS, or None.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.bos_id: int | None = tokenizer.bos_token_id
        self.eos_id: int | None = tokenizer.eos_token_id
        self.lead = _leading_ids(tokenizer)
        added = tokenizer.added_tokens_decoder
        self._added: dict[int, str] = {id_: token.content for id_, token in added.items()}
        self._specials = {id_ for id_, token in added.items() if token.special} | set(tokenizer.all_special_ids)
        self._specials.discard(tokenizer.unk_token_id)
        self._seen = 0

    @cached_property
    def _fast(self) -> BytePairs | None:
        return find_byte_pairs(self.tokenizer)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text: special tokens in the text are recognized, none are added."""
        self._seen += sum(map(len, texts))
        if self._seen > _FAST_FROM and self._fast is not None:
            return self._fast.encode(texts)
        return encode_plainly(self.tokenizer, texts)

    def encode_led(self, texts: Sequence[str]) -> list[list[int]]:
        """Like `encode`, with `lead` in front unless the text already starts with it (no double BOS)."""
        return [self.with_lead(ids) for ids in self.encode(texts)]

    def with_lead(self, ids: list[int]) -> list[int]:
        """`ids` with `lead` in front, exactly once."""
        return ids if ids[: len(self.lead)] == self.lead else self.lead + ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, including special tokens."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def spell(self, token_id: int) -> str:
        """The text of a special or added token."""
        return self._added.get(token_id) or self.tokenizer.convert_ids_to_tokens(token_id)

    def first_marker(self, text: str) -> int | None:
        """Id of the first special token in `text`; if there is none, of the first non-blank added token."""
        ids = self.encode([text])[0]
        special = next((id_ for id_ in ids if id_ in self._specials), None)
        if special is not None:
            return special
        return next((id_ for id_ in ids if self._added.get(id_, "").strip()), None)


def single_token_id(tokenizer: Any, text: str) -> int | None:
    """Id of `text` if it is a single added token of the tokenizer, else None."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    is_single = len(ids) == 1 and ids[0] != tokenizer.unk_token_id and ids[0] in tokenizer.added_tokens_decoder
    return ids[0] if is_single else None


def _leading_ids(tokenizer: Any) -> list[int]:
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    for start in range(len(full) - len(plain) + 1):
        if full[start : start + len(plain)] == plain:
            return full[:start]
    return []


Made = TypeVar("Made")
TokenRequests = Generator[Sequence[str], list[list[int]], Made]


def run_requests(tokens: Tokens, work: TokenRequests[Made]) -> Made:
    """Runs the encoding of one row, with its errors."""
    try:
        texts = next(work)
        while True:
            texts = work.send(tokens.encode(texts))
    except StopIteration as ended:
        return ended.value


def run_requests_batched(tokens: Tokens, works: Sequence[TokenRequests[Made]]) -> list[Made | RowError]:
    """Runs the encoding of several rows with batched tokenization; returns a RowError for rows that fail."""
    made: list[Made | RowError | None] = [None] * len(works)
    sent: dict[int, list[list[int]] | None] = dict.fromkeys(range(len(works)))
    while sent:
        asked: dict[int, Sequence[str]] = {}
        for number, ids in sent.items():
            try:
                asked[number] = next(works[number]) if ids is None else works[number].send(ids)
            except StopIteration as ended:
                made[number] = ended.value
            except RowError as error:
                made[number] = error.with_traceback(
                    None
                )  # the traceback would keep all local variables alive in a reference cycle
        encoded = iter(tokens.encode([text for texts in asked.values() for text in texts]))
        sent = {number: _take(encoded, len(texts)) for number, texts in asked.items()}
    return [one for one in made if one is not None]


def _take(encoded: Iterator[list[int]], count: int) -> list[list[int]]:
    return [next(encoded) for _ in range(count)]
