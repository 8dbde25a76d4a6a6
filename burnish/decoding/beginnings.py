"""Keys and values of texts that were read before, for prompts that begin alike."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice
from os.path import commonprefix

from burnish.decoding.key_values import KeyValues

LEAST_BEGINNING = 16
"""Tokens of a common beginning that are worth keeping: fewer are computed as fast as they are copied."""
_TRIED = 8
"""Texts with as many blocks in common with a prompt, of which the one with the longest beginning is taken. Another may
have more in common, but by less than a block."""

_Text = tuple[int, ...]
_Block = int
"""Hash of all tokens of a text up to the end of one of its blocks of `LEAST_BEGINNING` tokens."""


class Beginnings:
    """Texts with their keys and values; the least recently used are let go.

    Texts are found by their blocks, so that it takes no longer to find one among thousands.

    Args:
        most: bytes of all of them.
    """

    def __init__(self, most: int) -> None:
        self._most, self.num_bytes = most, 0
        self._kept: OrderedDict[_Text, KeyValues] = OrderedDict()
        self._texts: dict[_Block, dict[_Text, None]] = {}
        """The texts that have a block, the latest last."""
        self._ending: dict[_Block, set[_Text]] = {}
        """Those of which it is the last whole block."""

    def length(self, ids: Sequence[int]) -> int:
        """How many tokens of a prompt are known, not counting its last; 0 if those are too few."""
        return self._longest(ids)[1]

    def find(self, ids: Sequence[int]) -> KeyValues | None:
        """The longest known beginning of a prompt, without its last token, which has to be read for its logits."""
        best, length = self._longest(ids)
        if best is None:
            return None
        self._kept.move_to_end(best)
        return self._kept[best].beginning(length)

    def _longest(self, ids: Sequence[int]) -> tuple[_Text | None, int]:
        prompt = tuple(ids[:-1])
        texts: dict[_Text, None] = {}
        for block in _blocks(prompt):
            if block not in self._texts:
                break
            texts = self._texts[block]
        best, length = None, LEAST_BEGINNING - 1  # the same hash may be that of other tokens
        for text in islice(reversed(texts), _TRIED):
            if (common := len(commonprefix([text, prompt]))) > length:
                best, length = text, common
        return (best, length) if best is not None else (None, 0)

    def wants(self, ids: Sequence[int]) -> bool:
        """Whether a text may be worth keeping."""
        return bool(self._most) and len(ids) >= LEAST_BEGINNING

    def keep(self, ids: Sequence[int], held: KeyValues) -> None:
        """Keeps a text with its keys and values, and lets others go if there is no room."""
        text, size = tuple(ids), held.num_bytes
        if size > self._most or not self.wants(ids):
            return
        blocks = list(_blocks(text))
        for other in [known for block in blocks for known in self._ending.get(block, ())]:
            if other == text[: len(other)]:
                self._let_go(other)
        while self._kept and self.num_bytes + size > self._most:
            self._let_go(next(iter(self._kept)))
        self._kept[text] = held
        self.num_bytes += size
        for block in blocks:
            self._texts.setdefault(block, {})[text] = None
        self._ending.setdefault(blocks[-1], set()).add(text)

    def _let_go(self, text: _Text) -> None:
        self.num_bytes -= self._kept.pop(text).num_bytes
        blocks = list(_blocks(text))
        for block in blocks:
            del self._texts[block][text]
            if not self._texts[block]:
                del self._texts[block]
        self._ending[blocks[-1]].remove(text)
        if not self._ending[blocks[-1]]:
            del self._ending[blocks[-1]]


def _blocks(text: _Text) -> Iterator[_Block]:
    """The whole blocks of a text."""
    block = 0
    for begin in range(0, len(text) - LEAST_BEGINNING + 1, LEAST_BEGINNING):
        block = hash((block, text[begin : begin + LEAST_BEGINNING]))
        yield block
