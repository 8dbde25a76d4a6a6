"""The text of an answer while its tokens come, in whole characters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

_BROKEN = "\ufffd"
"""What a character is decoded as before all of its tokens are there."""


class Decoder:
    """Text of token ids that come one after the other. Each is decoded with a few before it, not with all.

    Args:
        tokenizer: of the model.
        visible_ids: removes ids that are not meant for the reader, such as a header.
        kept_ids: special tokens that belong to the text.
    """

    def __init__(
        self,
        tokenizer: Any,
        visible_ids: Callable[[list[int]], Sequence[int]] = lambda ids: ids,
        kept_ids: Collection[int] = (),
    ) -> None:
        self._tokenizer, self._visible_ids = tokenizer, visible_ids
        self._left_out = set(tokenizer.all_special_ids) - set(kept_ids) if kept_ids else set[int]()
        self._skips_specials = not kept_ids
        self._first: list[int] | None = []
        """Ids of which it is not known yet which are visible; None once it is."""
        self._ids: list[int] = []
        self._begin = self._read = 0

    def add(self, token: int) -> str:
        """The text that a token adds; empty while a character is incomplete."""
        if self._first is None:
            self._ids.append(token)
        else:
            self._first.append(token)
            self._ids = list(self._visible_ids(self._first))
            if self._ids:
                self._first = None
        return self._next(is_last=False)

    def rest(self) -> str:
        """What there is of a character that the answer ended within."""
        return self._next(is_last=True)

    def _next(self, is_last: bool) -> str:
        before = self._decode(self._ids[self._begin : self._read])
        after = self._decode(self._ids[self._begin :])
        if len(after) <= len(before) or (after.endswith(_BROKEN) and not is_last):
            return ""
        self._begin, self._read = self._read, len(self._ids)
        return after[len(before) :]

    def _decode(self, ids: Sequence[int]) -> str:
        if self._left_out:
            ids = [id_ for id_ in ids if id_ not in self._left_out]
        return self._tokenizer.decode(ids, skip_special_tokens=self._skips_specials)
