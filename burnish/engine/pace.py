"""How long a run will still take, from how long its parts have taken so far."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import numpy

_STEPS_REMEMBERED = 200
_WARM = 3
"""So many steps are known before the first, in which memory is taken and kernels are chosen, is left out."""


class Pace:
    """Told how long each part of a run took, and from that how long the rest will take.

    A step takes as long as its tokens, padding included. To them come the validations, and the checkpoints: those that
    are due, and those of better validations, as often as these have come so far.

    Args:
        step_tokens: of each step from the first to the last, the tokens that go through the network, with padding.
        validation_tokens: the same of one look at the held-out rows; 0 where there are none.
        evaluate_every: steps between validations.
        save_every: steps between checkpoints.
    """

    def __init__(
        self, step_tokens: Sequence[int], validation_tokens: int, evaluate_every: int, save_every: int
    ) -> None:
        self._total = len(step_tokens)
        self._validation_tokens = validation_tokens
        self._evaluate_every = evaluate_every
        self._save_every = save_every
        self._validations: list[float] = []
        self._num_later = self._num_best = 0
        self._saves: list[float] = []
        self.plan_anew(step_tokens)

    def plan_anew(self, step_tokens: Sequence[int]) -> None:
        """Takes other sizes of the steps, and forgets how long steps of the old sizes took."""
        self._tokens = list(step_tokens)
        self._tokens_from = numpy.append(numpy.cumsum(self._tokens[::-1], dtype=numpy.int64)[::-1], 0)
        self._steps: deque[tuple[int, float]] = deque(maxlen=_STEPS_REMEMBERED)
        self._is_warm = False

    def step_done(self, step: int, seconds: float) -> None:
        """A step, counted from 0, took so long."""
        self._steps.append((self._tokens[step], seconds))
        if not self._is_warm and len(self._steps) == _WARM:
            self._steps.popleft()
            self._is_warm = True

    def validated(self, step: int, seconds: float, is_best: bool) -> None:
        """The held-out rows were judged after so many steps."""
        self._validations.append(seconds)
        self._num_later += step > 0
        self._num_best += is_best

    def saved(self, seconds: float) -> None:
        """A checkpoint was written."""
        self._saves.append(seconds)

    def seconds_left(self, done: int) -> float:
        """What the run will take once so many steps are done, with the validation and the checkpoint due there.

        Nothing is known before the first step is done, which gives 0. A checkpoint counts as nothing until the first
        one is written.
        """
        seconds = sum(seconds for _, seconds in self._steps)
        rate = seconds / max(1, sum(tokens for tokens, _ in self._steps))
        left = rate * float(self._tokens_from[done])
        return left + self._validations_left(done, rate) + self._saves_left(done)

    def _validations_left(self, done: int, rate: float) -> float:
        if not self._validation_tokens:
            return 0.0
        # a third: the backward pass computes twice what the forward pass does (arXiv 2001.08361, section 2.1)
        each = _mean(self._validations) if self._validations else self._validation_tokens * rate / 3
        return each * self._num_due(done, self._evaluate_every)

    def _saves_left(self, done: int) -> float:
        if not self._saves:
            return 0.0
        number = float(self._num_due(done, self._save_every))
        if self._validation_tokens:
            both = math.lcm(self._evaluate_every, self._save_every)
            extra = self._num_due(done, self._evaluate_every) - self._num_due(done, both)
            number += extra * (self._num_best + 1) / (self._num_later + 2)  # Laplace's rule of succession
        return number * _mean(self._saves)

    def _num_due(self, done: int, every: int) -> int:
        """How many of the steps from number `done` on are multiples of `every` or the last one."""
        first = max(1, done)
        return self._total // every - (first - 1) // every + (self._total % every > 0)


def forecast(pace: float, step_tokens: Sequence[int], validation_tokens: int, evaluate_every: int) -> float:
    """Seconds of a whole run, before its first step; checkpoints count as nothing.

    Args:
        pace: seconds per token that goes through the network in training.
        step_tokens: of each step, padding included.
        validation_tokens: the same of one look at the held-out rows; 0 where there are none.
        evaluate_every: steps between validations; there is one before the first step and one after the last.
    """
    validations = 1 + -(-len(step_tokens) // evaluate_every)
    return pace * (sum(step_tokens) + validations * validation_tokens / 3)


def _mean(seconds: Sequence[float]) -> float:
    """The mean, without the first where there are others: that one was slower."""
    later = seconds[1:] or seconds
    return sum(later) / len(later)
