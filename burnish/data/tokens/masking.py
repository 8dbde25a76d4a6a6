"""Masking words for a model to guess, always the same for the same example, seed and epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from burnish.data.rows.row import IGNORED

NO_WORD = -1
"""The word of tokens that are never masked: `[CLS]`, `[SEP]` and their like."""
_MASKED, _RANDOM = 0.8, 0.1
"""Of the tokens to guess, 80 % are replaced by the mask token and 10 % by another; 10 % stay (arXiv 1810.04805)."""


@dataclass(frozen=True, slots=True)
class MaskExample:
    """Token ids of a text, and the word that each belongs to."""

    input_ids: list[int]
    words: list[int]
    """The number of each token's word, rising; `NO_WORD` for tokens that are never masked."""
    share: float
    """Share of the words that are masked."""
    place: str

    @property
    def num_tokens(self) -> int:
        """Tokens read."""
        return len(self.input_ids)

    @property
    def num_trained(self) -> int:
        """Tokens that are masked, on average over all draws; at least one where there is a word."""
        maskable = sum(word != NO_WORD for word in self.words)
        return max(1, round(self.share * maskable)) if maskable else 0


def mask(
    example: MaskExample, mask_id: int, replacements: Sequence[int], draw: Sequence[int]
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Hides some words of an example.

    Args:
        example: with at least one word.
        mask_id: the mask token.
        replacements: ordinary tokens, of which some masked ones become one.
        draw: seed, epoch and number of the example.

    Returns:
        `[tokens]` int64 ids with words hidden, and `[tokens]` int64 targets, `IGNORED` where nothing is hidden.
    """
    generator = numpy.random.default_rng(list(draw))
    ids, words = numpy.array(example.input_ids), numpy.array(example.words)
    present = numpy.unique(words[words != NO_WORD])
    number = max(1, round(example.share * len(present)))
    hidden = numpy.isin(words, generator.choice(present, number, replace=False))
    targets = numpy.where(hidden, ids, IGNORED)
    chance = generator.random(len(ids))
    others = generator.choice(replacements, len(ids))
    shown = numpy.where(chance < _MASKED, mask_id, numpy.where(chance < _MASKED + _RANDOM, others, ids))
    return numpy.where(hidden, shown, ids), targets
