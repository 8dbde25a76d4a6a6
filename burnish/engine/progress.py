"""Progress of a run: the state that the loop's decisions depend on, and the estimated remaining time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy

from burnish.engine.schedule import Cycle
from burnish.engine.validation import RowResults, paired_change
from burnish.errors import BurnishError
from burnish.metrics.measure import Measure

_RENAMED_KEY = "sheets: row_results"
"""Of `Progress.to_dict`, in older checkpoints and now."""
_STEPS_REMEMBERED = 200
_WARM = 3
"""Once this many steps are timed, the first is dropped: it allocates memory and selects kernels."""


class RemainingTime:
    """Estimates the remaining time of a run from the measured times of its parts.

    The time of a step is proportional to its tokens, padding included. Validations and checkpoints are added: those
    that are due, and those after better validations, at the rate of improvements so far.

    Args:
        step_tokens: tokens per step through the network, padding included, for all steps.
        validation_tokens: the same for one validation; 0 without held-out rows.
        evaluate_every: steps between validations.
        save_every: steps between checkpoints.
    """

    def __init__(
        self, step_tokens: Sequence[int], validation_tokens: int, evaluate_every: int, save_every: int
    ) -> None:
        self._validation_tokens = validation_tokens
        self._evaluate_every = evaluate_every
        self._save_every = save_every
        self._validations: list[float] = []
        self._num_later = self._num_best = 0
        self._saves: list[float] = []
        self.replan(step_tokens)

    def replan(self, step_tokens: Sequence[int]) -> None:
        """Sets the sizes of all steps, which may be more than before; discards the times measured so far."""
        self._total = len(step_tokens)
        self._tokens = list(step_tokens)
        self._tokens_from = numpy.append(numpy.cumsum(self._tokens[::-1], dtype=numpy.int64)[::-1], 0)
        self._steps: deque[tuple[int, float]] = deque(maxlen=_STEPS_REMEMBERED)
        self._is_warm = False

    def step_done(self, step: int, seconds: float) -> None:
        """Records the time of a step, counted from 0."""
        self._steps.append((self._tokens[step], seconds))
        if not self._is_warm and len(self._steps) == _WARM:
            self._steps.popleft()
            self._is_warm = True

    def seconds_per_token(self) -> float:
        """Seconds per token of the steps so far, padding included; 0 before the first is done."""
        return sum(seconds for _, seconds in self._steps) / max(1, sum(tokens for tokens, _ in self._steps))

    def validated(self, step: int, seconds: float, is_best: bool) -> None:
        """Records the time of a validation after `step` steps."""
        self._validations.append(seconds)
        self._num_later += step > 0
        self._num_best += is_best

    def saved(self, seconds: float) -> None:
        """Records the time of a checkpoint."""
        self._saves.append(seconds)

    def seconds_left(self, done: int) -> float:
        """Estimated remaining time after `done` steps, including the validation and the checkpoint due at that point.

        0 before the first step. Checkpoints count as 0 until the first one is written.
        """
        rate = self.seconds_per_token()
        left = rate * float(self._tokens_from[done])
        return left + self._validations_left(done, rate) + self._saves_left(done)

    def _validations_left(self, done: int, rate: float) -> float:
        if not self._validation_tokens:
            return 0.0
        # a third of a step: the backward pass costs twice the forward pass (arXiv 2001.08361, section 2.1)
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
        """How many of the steps from `done` on are multiples of `every` or the last one."""
        first = max(1, done)
        return self._total // every - (first - 1) // every + (self._total % every > 0)


def _mean(seconds: Sequence[float]) -> float:
    """The mean without the first value, if there are others: the first one is slower."""
    later = seconds[1:] or seconds
    return sum(later) / len(later)


@dataclass(slots=True)
class Progress:
    """Steps done, validations so far and the best of them. Saved with every checkpoint.

    Two validations are tracked. The highest has the best score so far. The best checkpoint, which becomes the result,
    depends on what ranks them. Where that is the loss, the highest is the best. A share of labels moves in steps, and
    on few rows the highest is so by chance; there the best is the latest that is not worse than the highest, beyond the
    95 % interval of the paired difference: what was trained longer, at a rate that falls to 0, is better on other rows
    more often than not. `bench/outcomes.py` compares these rules with others on test rows. With too few rows for an
    interval, the highest is the best.
    """

    step: int = 0
    validations: list[tuple[int, float]] = field(default_factory=list)
    """Step and loss of each validation; the first is the base model, at step 0."""
    best_step: int | None = None
    best_score: float | None = None
    """Score of the best checkpoint; higher is better."""
    seconds: float = 0.0
    """Seconds spent in the loop, including before a resume."""
    stopped: bool = False
    """Whether early stopping has ended the run."""
    micro_tokens: int | None = None
    """Token limit of a micro-batch, if it was reduced because memory ran out."""
    held_out_tokens: int | None = None
    """The same for the batches of held-out rows."""
    highest_step: int | None = None
    highest_score: float | None = None
    row_results: dict[str, RowResults] = field(default_factory=dict)
    """Row results of the validations that later ones are compared with: `base`, `lowest` (by loss) and `highest`."""
    cycles: list[Cycle] = field(default_factory=list)
    """Schedules that were added to the planned one."""
    worse: int = 0
    """Number of the last validations, one after the other, that were worse than the highest."""

    @property
    def best_loss(self) -> float | None:
        """Loss of the best checkpoint, which is never the untrained base."""
        return self._loss_at(self.best_step)

    def _loss_at(self, step: int | None) -> float | None:
        return next((loss for number, loss in self.validations if number == step), None)

    def record(self, step: int, loss: float, score: float, measures: Sequence[Measure] = ()) -> bool:
        """Records a validation; returns whether these weights would be kept if the run ended now.

        Args:
            step: step of the validation.
            loss: held-out loss.
            score: the score that checkpoints are ranked by, higher is better; ties are broken by the lower loss.
            measures: metrics for the comparison row by row: the loss, and the task's main metric.
        """
        lowest = self.row_results.get("lowest")
        is_highest = step > 0 and not math.isnan(loss) and self._is_highest(loss, score)
        is_worse = step > 0 and not is_highest and (math.isnan(loss) or self._is_worse(measures))
        is_best = is_highest or (step > 0 and len(measures) > 1 and not is_worse)
        self.worse = self.worse + 1 if is_worse else 0
        self.validations.append((step, loss))
        if is_highest:
            self.highest_step, self.highest_score = step, score
            self.row_results["highest"] = RowResults.of(step, loss, measures)
        if is_best:
            self.best_step, self.best_score = step, score
        if step == 0:
            self.row_results["base"] = RowResults.of(step, loss, measures[:1])
        elif lowest is None or loss < lowest.loss:
            self.row_results["lowest"] = RowResults.of(step, loss, measures[:1])
        return is_best

    def _is_highest(self, loss: float, score: float) -> bool:
        before = self._loss_at(self.highest_step)
        return self.highest_score is None or before is None or (score, -loss) > (self.highest_score, -before)

    def _is_worse(self, measures: Sequence[Measure]) -> bool:
        """Whether a validation that is not the highest is worse than that by the main metric, which is the last one.

        With too few rows for an interval, whatever is not the highest is worse.
        """
        highest = self.row_results.get("highest")
        is_worse = highest.is_better_than(measures[-1]) if highest and measures else None
        return True if is_worse is None else is_worse

    def changes(self, loss: Measure, chance: Measure | None = None) -> dict[str, list[float]]:
        """The loss of a validation before it is recorded, minus other losses on the same rows.

        Args:
            loss: loss of the validation.
            chance: loss of predicting the label frequencies, if the task has it.

        Returns:
            For each of `base`, `lowest` and `chance`, if known, the difference and the lower and upper end of its 95 %
            interval.
        """
        changes = {name: results.change(loss) for name, results in self.row_results.items() if name != "highest"}
        changes["chance"] = paired_change(chance, loss) if chance else None
        return {name: [change.value, change.low, change.high] for name, change in changes.items() if change}

    def check_kept(self, learning_rate: float | str) -> None:
        """Raises BurnishError if none of the validated weights gave a loss that is a number.

        Args:
            learning_rate: of the run, for the advice.
        """
        trained = [loss for step, loss in self.validations if step > 0]
        if trained and self.best_step is None:
            raise BurnishError(
                f"the validation loss is {trained[-1]} after training, so there is no result",
                "The weights, or what the model computes with them, are NaN or infinite.",
                f"Lower `train.learning_rate` (now {learning_rate}), and train again",
            )

    def why_best(self) -> str:
        """Why the best checkpoint is the result, as the end of a sentence that begins with "because"."""
        if self.best_step is None:
            return "no rows are held out, and it is the last one"
        trained = sum(step > 0 for step, _ in self.validations)
        if trained == 1:
            return "it is the only one that was validated"
        if self.best_step == self.highest_step:
            return f"it has the best score of {trained} validations"
        return (
            f"it is the latest that is not shown to be worse than step {self.highest_step}, which has the best score "
            f"of {trained} validations"
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {**asdict(self), "validations": [list(pair) for pair in self.validations]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Progress:
        """The inverse of `to_dict`, also for older checkpoints.

        They have other keys, and do not distinguish the highest validation from the best. Of the highest they have row
        results only if it was the best.
        """
        old, new = _RENAMED_KEY.split(": ")
        values = {new if name == old else name: value for name, value in values.items()}
        highest = {"highest_step": values.get("best_step"), "highest_score": values.get("best_score")}
        results = {name: RowResults(**one) for name, one in values.get("row_results", {}).items()}
        best = results.pop("best", None)
        if best is not None and best.step == {**highest, **values}["highest_step"]:
            results["highest"] = best
        pairs = [(step, loss) for step, loss in values["validations"]]
        cycles = [Cycle(**one) for one in values.get("cycles", [])]
        return cls(**{**highest, **values, "validations": pairs, "row_results": results, "cycles": cycles})
