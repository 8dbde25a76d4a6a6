"""Where a run is: everything the loop decides from, and how long the rest will take."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy

from burnish.engine.validation import Sheet
from burnish.metrics.measure import Measure

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

    def seconds_per_token(self) -> float:
        """Of the steps so far, padding included; 0 before the first is done."""
        return sum(seconds for _, seconds in self._steps) / max(1, sum(tokens for tokens, _ in self._steps))

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
        rate = self.seconds_per_token()
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


@dataclass(slots=True)
class Progress:
    """Steps done, validations so far and the best of them. Saved with every checkpoint.

    Two validations are told apart. The highest is plainly the best so far. The best checkpoint, which becomes the
    result, is the earliest one that the highest is not shown to beat: a later one takes its place only where it is the
    highest and better beyond the 95 % interval of the difference, paired by row. What is better by luck alone is not
    worth more steps of training. With too few rows for an interval, the highest is the best.
    """

    step: int = 0
    validations: list[tuple[int, float]] = field(default_factory=list)
    """Step and loss of each validation; the first is the base model, at step 0."""
    best_step: int | None = None
    best_score: float | None = None
    """Score of the best checkpoint; more is better."""
    seconds: float = 0.0
    """Seconds spent in the loop, over all sessions."""
    stopped: bool = False
    """Early stopping has ended the run."""
    micro_tokens: int | None = None
    """Most tokens of a micro-batch, where memory ran out and it was made smaller than the recipe says."""
    held_out_tokens: int | None = None
    """The same of the batches of held-out rows."""
    highest_step: int | None = None
    highest_score: float | None = None
    sheets: dict[str, Sheet] = field(default_factory=dict)
    """Rows of validations that later ones are held against: `base`, `lowest` (by the loss) and `best`."""

    @property
    def best_loss(self) -> float | None:
        """Loss of the best checkpoint, which is never the untrained base."""
        return self._loss_at(self.best_step)

    def _loss_at(self, step: int | None) -> float | None:
        return dict(self.validations).get(step) if step is not None else None

    def record(self, step: int, loss: float, score: float, measures: Sequence[Measure] = ()) -> bool:
        """Notes a validation; says whether it is the best of the trained weights so far.

        Args:
            step: at which it was made.
            loss: of the held-out rows.
            score: what the checkpoints are ranked by, more being better; of equal scores the lower loss wins.
            measures: by which it is held against others row by row: the loss, and the task's headline figure.
        """
        lowest = self.sheets.get("lowest")
        is_highest = step > 0 and not math.isnan(loss) and self._is_highest(loss, score)
        is_best = is_highest and self._beats_best(measures)
        self.validations.append((step, loss))
        if is_highest:
            self.highest_step, self.highest_score = step, score
        if is_best:
            self.best_step, self.best_score = step, score
            self.sheets["best"] = Sheet.of(step, loss, measures)
        if step == 0:
            self.sheets["base"] = Sheet.of(step, loss, measures[:1])
        elif lowest is None or loss < lowest.loss:
            self.sheets["lowest"] = Sheet.of(step, loss, measures[:1])
        return is_best

    def _is_highest(self, loss: float, score: float) -> bool:
        before = self._loss_at(self.highest_step)
        return self.highest_score is None or before is None or (score, -loss) > (self.highest_score, -before)

    def _beats_best(self, measures: Sequence[Measure]) -> bool:
        best = self.sheets.get("best")
        is_beaten = best.is_beaten_by(measures) if best else None
        return True if is_beaten is None else is_beaten

    def changes(self, loss: Measure, chance: Measure | None = None) -> dict[str, list[float]]:
        """The loss of a validation that is yet to be recorded, minus others' on the same rows.

        Args:
            loss: of the validation.
            chance: the loss of answers by frequency alone, where the task can tell it.

        Returns:
            For each of `base`, `lowest` and `chance`, where it can be told, the difference and the lower and upper end
            of its 95 % interval.
        """
        told = {name: sheet.change(loss) for name, sheet in self.sheets.items() if name != "best"}
        told["chance"] = Sheet.of(0, 0.0, [chance]).change(loss) if chance else None
        return {name: [change.value, change.low, change.high] for name, change in told.items() if change}

    def validations_since_highest(self) -> int:
        """How many validations have passed without a higher one."""
        if self.highest_step is None:
            return 0
        return sum(step > self.highest_step for step, _ in self.validations)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {**asdict(self), "validations": [list(pair) for pair in self.validations]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Progress:
        """The inverse of `to_dict`; the highest validation of older checkpoints was the best one."""
        highest = {"highest_step": values.get("best_step"), "highest_score": values.get("best_score")}
        sheets = {name: Sheet(**sheet) for name, sheet in values.get("sheets", {}).items()}
        pairs = [(step, loss) for step, loss in values["validations"]]
        return cls(**{**highest, **values, "validations": pairs, "sheets": sheets})
