"""Keys and values of texts that were read before, for prompts that begin alike."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from os.path import commonprefix

from burnish.decoding.key_values import KeyValues

LEAST_BEGINNING = 16
"""Tokens of a common beginning that are worth keeping: fewer are computed as fast as they are copied."""


class Beginnings:
    """Texts with their keys and values; the least recently used are let go.

    Args:
        most: bytes of all of them.
    """

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._kept: OrderedDict[tuple[int, ...], KeyValues] = OrderedDict()

    def length(self, ids: Sequence[int]) -> int:
        """How many tokens of a prompt are known, not counting its last; 0 if those are too few."""
        best, length = self._longest(ids)
        return 0 if best is None else length

    def find(self, ids: Sequence[int]) -> KeyValues | None:
        """The longest known beginning of a prompt, without its last token, which has to be read for its logits."""
        best, length = self._longest(ids)
        if best is None:
            return None
        self._kept.move_to_end(best)
        return self._kept[best].beginning(length)

    def _longest(self, ids: Sequence[int]) -> tuple[tuple[int, ...] | None, int]:
        best, length, prompt = None, LEAST_BEGINNING - 1, tuple(ids[:-1])
        for text in self._kept:
            if (common := len(commonprefix([text, prompt]))) > length:
                best, length = text, common
        return best, length

    def wants(self, ids: Sequence[int]) -> bool:
        """Whether a text may be worth keeping."""
        return bool(self._most) and len(ids) >= LEAST_BEGINNING

    def keep(self, ids: Sequence[int], held: KeyValues) -> None:
        """Keeps a text with its keys and values, and lets others go if there is no room."""
        text, size = tuple(ids), held.num_bytes
        if size > self._most or not self.wants(ids):
            return
        for other in [known for known in self._kept if known == text[: len(known)]]:
            self._bytes -= self._kept.pop(other).num_bytes  # a part of this one
        while self._kept and self._bytes + size > self._most:
            self._bytes -= self._kept.popitem(last=False)[1].num_bytes
        self._kept[text] = held
        self._bytes += size
