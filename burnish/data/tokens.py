"""A tokenizer seen from the data: texts to token ids, with what it puts in front of a text by itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from burnish.data.byte_pairs import BytePairs, encode_plainly, find_byte_pairs

_MANY = 2_000_000
"""Characters from which on it is worth to look for a faster way."""


class Tokens:
    """Wraps a tokenizer.

    Attributes:
        lead: the ids that the tokenizer puts before every text by itself (BOS as a rule; empty for many).
        bos_id, eos_id: ids of its tokens for the beginning and the end of a text, or None.
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
        """Token ids of each text as it stands: special tokens that are spelled in it count, none are added."""
        self._seen += sum(map(len, texts))
        if self._seen > _MANY and self._fast is not None:
            return self._fast.encode(texts)
        return encode_plainly(self.tokenizer, texts)

    def encode_led(self, texts: Sequence[str]) -> list[list[int]]:
        """Like `encode`, with `lead` in front where the text does not begin with it already (no double BOS)."""
        return [self.with_lead(ids) for ids in self.encode(texts)]

    def with_lead(self, ids: list[int]) -> list[int]:
        """`ids` with `lead` in front, exactly once."""
        return ids if ids[: len(self.lead)] == self.lead else self.lead + ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens spelled out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)

    def spell(self, token_id: int) -> str:
        """The text that a special or added token is written as."""
        return self._added.get(token_id) or self.tokenizer.convert_ids_to_tokens(token_id)

    def first_marker(self, text: str) -> int | None:
        """Id of the first special token in `text`; if there is none, of the first added token that is not blank."""
        ids = self.encode([text])[0]
        special = next((id_ for id_ in ids if id_ in self._specials), None)
        if special is not None:
            return special
        return next((id_ for id_ in ids if self._added.get(id_, "").strip()), None)


def single_token_id(tokenizer: Any, text: str) -> int | None:
    """Id of `text` where the tokenizer knows it as one token and writes it as such, else None."""
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
