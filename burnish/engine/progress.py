"""Where a run stands: everything the loop decides from, besides weights and optimizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from burnish.engine.sheet import Sheet
from burnish.metrics.measure import Measure


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
