"""Guesses the next tokens of an answer from what followed the same tokens before: prompt lookup decoding.

Answers that repeat their prompt or themselves, such as summaries, corrections, JSON and code, are then written several
tokens at a step. What is guessed decides nothing: the model computes the logits of every place, and a guess counts only
where the token chosen from these is the same (arXiv 2304.04487; no second model is needed to guess).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice

from burnish.kernels.few_tokens_attention import FEW

_SIZES = (4, 3, 2)
"""Tokens that have to be the same, the most first."""
_FIRST, _MOST = 3, FEW - 1
"""Guesses at a time: at first, and at most."""
_LONGEST_PAUSE = 32
"""Steps without a guess after several that failed."""
_LATEST = 12
"""Guessed tokens that the rate is that of, more or less."""


class Lookup:
    """Guesses for one answer.

    Args:
        ids: the prompt.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self._ids = list[int]()
        self._places = dict[tuple[int, ...], int]()
        """Index of the token after some tokens, the last time that they occurred."""
        self._number, self._pause, self._waits = _FIRST, 1, 0
        self.rate = 0.5
        """Share of guessed tokens that were right of late, of those that were compared."""
        self.add(ids)

    def add(self, ids: Sequence[int]) -> None:
        """Records further tokens of the text."""
        for token in ids:
            # of the tokens before this one, which it follows: the end of the text itself is not known yet
            for size in _SIZES:
                if len(self._ids) >= size:
                    self._places[tuple(self._ids[-size:])] = len(self._ids)
            self._ids.append(token)

    def guess(self, most: int) -> list[int]:
        """The next tokens, perhaps none.

        Args:
            most: how many may be guessed.
        """
        if self._waits:
            self._waits -= 1
            return []
        for size in _SIZES:
            place = self._places.get(tuple(self._ids[-size:]))
            if place is not None:
                again = self._ids[place:]  # and from its beginning where it ends: the text repeats itself
                return list(islice(cycle(again), min(most, self._number)))
        return []

    def learn(self, guessed: int, right: int) -> None:
        """Guesses more after guesses that were right, and less often after guesses that were wrong.

        Args:
            guessed: number of tokens of the last guess.
            right: how many of these were chosen.
        """
        compared = min(guessed, right + 1)  # nothing is known of what comes after the first wrong one
        self.rate += (right - self.rate * compared) / max(_LATEST, compared)
        if right == guessed:
            self._number, self._pause = min(2 * self._number, _MOST), 1
        elif right:
            self._number, self._pause = max(_FIRST, right + 1), 1
        else:
            self._number, self._waits = _FIRST, self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
