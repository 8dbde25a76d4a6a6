"""Masks words for masked language modeling, as a function of example, seed and epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from burnish.data.rows.row import IGNORED

NO_WORD = -1
"""The word number of tokens that are never masked, such as `[CLS]` and `[SEP]`."""
_MASKED, _RANDOM = 0.8, 0.1
"""Of the tokens to predict, 80 % are replaced by the mask token, 10 % by a random one, 10 % are kept (arXiv
1810.04805)."""


@dataclass(frozen=True, slots=True)
class MaskExample:
    """Token ids of a text, and the word number of each."""

    input_ids: list[int]
    words: list[int]
    """Word number of each token, in increasing order; `NO_WORD` for tokens that are never masked."""
    share: float
    """Share of the words to mask."""
    place: str

    @property
    def num_tokens(self) -> int:
        """Number of tokens."""
        return len(self.input_ids)

    @property
    def num_trained(self) -> int:
        """Average number of masked tokens; at least one if there is any word."""
        maskable = sum(word != NO_WORD for word in self.words)
        return max(1, round(self.share * maskable)) if maskable else 0


def mask(
    example: MaskExample, mask_id: int, replacements: Sequence[int], draw: Sequence[int]
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Masks some words of an example.

    Args:
        example: an example with at least one word.
        mask_id: the mask token.
        replacements: ordinary tokens, from which random replacements are drawn.
        draw: seed, epoch and index of the example.

    Returns:
        `[tokens]` int64 ids with masked words, and `[tokens]` int64 targets, `IGNORED` where not masked.
    """
    generator = numpy.random.default_rng(list(draw))
    ids, words = numpy.array(example.input_ids), numpy.array(example.words)
    present = numpy.unique(words[words != NO_WORD])
    number = max(1, round(example.share * len(present)))
    hidden = numpy.isin(words, generator.choice(present, number, replace=False))
    targets = numpy.where(hidden, ids, IGNORED)
    # drawn for all tokens, masked or not: the numbers of a token then do not depend on which others are masked
    chance = generator.random(len(ids))
    others = generator.choice(replacements, len(ids))
    shown = numpy.where(chance < _MASKED, mask_id, numpy.where(chance < _MASKED + _RANDOM, others, ids))
    return numpy.where(hidden, shown, ids), targets
