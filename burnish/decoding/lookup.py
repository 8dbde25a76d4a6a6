"""Guesses the next tokens of an answer from what followed the same tokens before: prompt lookup decoding.

Before: in its prompt, in itself, or in other answers of the same model, which tends to the same phrases. So several
tokens are written at a step, most of all in summaries, corrections, JSON and code, and in the answers of a model that
was tuned to a form. What is guessed decides nothing: the model computes the logits of every place, and a guess counts
only where the token chosen from these is the same (arXiv 2304.04487; no second model is needed to guess).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_SIZES = (4, 3, 2)
"""Tokens that have to be the same, the most first."""
MOST_AHEAD = 15
"""Guesses at a time."""
_LEAST_CHANCE = 0.02
"""Of a guess, below which none is made."""
_LATEST, _LATEST_OF_ALL = 12, 200
"""Guesses that a rate is that of, more or less: of one answer, and of all."""
_MOST_PHRASES = 1 << 17
"""Before the older half is let go: some 25 MB."""

_Known = dict[tuple[int, ...], int]
"""The token that followed some tokens the last time."""


class _Rate:
    """Share of guesses that were right of late."""

    __slots__ = ("_share_of_one", "value")

    def __init__(self, latest: int) -> None:
        self.value, self._share_of_one = 0.5, 1 / latest

    def note(self, is_right: bool) -> None:
        """Takes another guess into account."""
        self.value += (is_right - self.value) * self._share_of_one


class Phrases:
    """What followed the same tokens in the answers of one model.

    Args:
        most: phrases that are kept, about half of them the latest for sure.
    """

    def __init__(self, most: int = _MOST_PHRASES) -> None:
        self._latest, self._older, self._half = _Known(), _Known(), max(1, most // 2)
        self.rates = {size: _Rate(_LATEST_OF_ALL) for size in _SIZES}
        """Of guesses after so many tokens that are the same."""

    def add(self, before: tuple[int, ...], token: int) -> None:
        """Records what followed the last tokens of an answer."""
        for key in _ends(before):
            self._latest[key] = token
        if len(self._latest) > self._half:
            self._latest, self._older = _Known(), self._latest

    def find(self, key: tuple[int, ...]) -> int | None:
        """What followed these tokens the last time, if it is known."""
        found = self._latest.get(key)
        return self._older.get(key) if found is None else found


class Lookup:
    """Guesses for one answer.

    Args:
        ids: the prompt. What is in it is no phrase of the model.
        phrases: of the model, to which those of the answer are added.
    """

    def __init__(self, ids: Iterable[int], phrases: Phrases) -> None:
        self._own, self._phrases, self._rate = _Known(), phrases, _Rate(_LATEST)
        self._end = tuple[int, ...]()
        for token in ids:
            self._record(token)

    def add(self, ids: Iterable[int]) -> None:
        """Records further tokens of the answer, and how well each would have been guessed."""
        for token in ids:
            if (found := self._next(self._end)) is not None:
                found[1].note(found[0] == token)
            self._phrases.add(self._end, token)
            self._record(token)

    def guess(self, most: int) -> tuple[list[int], list[float]]:
        """The next tokens, perhaps none, and the chance of each that it and all before it are right.

        Args:
            most: how many may be guessed.
        """
        ids, chances = list[int](), list[float]()
        end, chance = self._end, 1.0
        while len(ids) < min(most, MOST_AHEAD) and (found := self._next(end)) is not None:
            chance *= found[1].value
            if chance < _LEAST_CHANCE:
                break
            ids.append(found[0])
            chances.append(chance)
            end = (*end[1 - _SIZES[0] :], found[0])
        return ids, chances

    def _next(self, end: tuple[int, ...]) -> tuple[int, _Rate] | None:
        """The token that followed these, and the rate of such guesses."""
        for key in _ends(end):
            if (token := self._own.get(key)) is not None:
                return token, self._rate
            if (token := self._phrases.find(key)) is not None:
                return token, self._phrases.rates[len(key)]
        return None

    def _record(self, token: int) -> None:
        for key in _ends(self._end):
            self._own[key] = token
        self._end = (*self._end[1 - _SIZES[0] :], token)


def _ends(tokens: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Their last ones, as many as have to be the same."""
    for size in _SIZES:
        if len(tokens) >= size:
            yield tokens[-size:]
