"""How many guessed tokens the rows of a batch check at a step, and whether a network may check several at once.

A step computes as many new columns for each row as the longest guess needs, so a guess of one row costs all rows time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch

from burnish.decoding.key_values import KeyValues
from burnish.decoding.lookup import MOST_AHEAD

_FORGETTING = 0.95
"""What a step counts for beside the one after it."""
_COST = 1 / 64
"""Of a further token beside a step with one, before it is known."""
_GAIN = 1.25
"""By which several rows have to be faster with guesses: those that get ahead end before the others, which then have the
time of a step to themselves."""
_NEW = 1 + MOST_AHEAD
"""Tokens of a row at a step, at most."""
_TRIED = range(3, 3 + 24 + _NEW)
"""Tokens on which it is tried whether several can be read together,"""
_ALONE = 6
"""and how many of them are read one after the other."""

Forward = Callable[[Sequence[Sequence[int]], Sequence[int], KeyValues, int], torch.Tensor]
"""Of a batch: new tokens of each row, their first position, what is held, and of how many the logits are wanted."""


class Pace:
    """Seconds of a step by its tokens: a line through the latest steps, some for the weights, some per token."""

    def __init__(self) -> None:
        self._weight = self._tokens = self._seconds = self._squares = self._products = 0.0
        self._seen = set[int]()

    def note(self, tokens: int, seconds: float) -> None:
        """Takes a step into account, unless it is the first of its size, which takes longer than others."""
        if tokens not in self._seen:
            self._seen.add(tokens)
            return
        self._weight = self._weight * _FORGETTING + 1
        self._tokens = self._tokens * _FORGETTING + tokens
        self._seconds = self._seconds * _FORGETTING + seconds
        self._squares = self._squares * _FORGETTING + tokens * tokens
        self._products = self._products * _FORGETTING + tokens * seconds

    def cost(self, tokens: int, others: int) -> float:
        """How long a step with so many tokens takes, as a multiple of one with others."""
        each, once = _COST, 1 - _COST
        if self._weight:
            mean, seconds = self._tokens / self._weight, self._seconds / self._weight
            spread = self._squares - self._weight * mean * mean
            slope = self._products - self._weight * mean * seconds
            # what is not known better is assumed, with a tenth of the weight of one step of twice the tokens
            assumed = mean * mean / 10
            each = max(0.0, (slope + assumed * _COST * seconds) / (spread + assumed))
            once = max(0.0, seconds - each * mean)
        return (once + each * tokens) / (once + each * others)


def num_ahead(chances: Sequence[Sequence[float]], pace: Pace) -> int:
    """The number of guessed columns with which a batch writes most tokens a second.

    Args:
        chances: of the guesses of each row, each that it and all before it are right.
        pace: of the batch.
    """
    rows = len(chances)
    best, most, expected = 0, float(rows), float(rows)
    for ahead in range(1, max(map(len, chances)) + 1):
        expected += sum(own[ahead - 1] for own in chances if len(own) >= ahead)
        speed = expected / pace.cost(rows * (1 + ahead), rows)
        if speed > (most if best or rows == 1 else _GAIN * most):
            best, most = ahead, speed
    return best


_alike: WeakKeyDictionary[Any, dict[str, bool]] = WeakKeyDictionary()
"""What `reads_alike` found for each network and precision."""


def reads_alike(network: Any, precision: str, forward: Forward) -> bool:
    """Whether the logits of tokens that are read together are, bit for bit, those of one after the other; tried once.

    Args:
        network: of a batch.
        precision: of its arithmetic.
        forward: of the batch.
    """
    known = _alike.setdefault(network, {})
    if precision not in known:
        known[precision] = _read_alike(forward)
    return known[precision]


def _read_alike(forward: Forward) -> bool:
    prompt, new = list(_TRIED[:-_NEW]), list(_TRIED[-_NEW:])
    found: list[torch.Tensor] = []
    for parts in ([new], [[token] for token in new[:_ALONE]]):
        held = KeyValues(torch.ones(1, len(prompt), dtype=torch.long))
        forward([prompt], [0], held, 1)
        for part in parts:
            begin = held.columns
            held.grow(torch.ones(1, len(part), dtype=torch.long))
            found.append(forward([part], [begin], held, len(part)))
    return torch.equal(found[0][:, :_ALONE], torch.cat(found[1:], 1))
