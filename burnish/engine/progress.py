"""Where a run stands: everything the loop decides from, besides weights and optimizer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Progress:
    """Steps done, validations so far and the best of them. Saved with every checkpoint."""

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

    @property
    def best_loss(self) -> float | None:
        """Loss of the best checkpoint, which is never the untrained base."""
        return dict(self.validations).get(self.best_step) if self.best_step is not None else None

    def record(self, step: int, loss: float, score: float) -> bool:
        """Notes a validation; says whether it is the best of the trained weights so far.

        Args:
            step: at which it was made.
            loss: of the held-out rows.
            score: what the checkpoints are ranked by, more being better; of equal scores the lower loss wins.
        """
        best = None if self.best_score is None or self.best_loss is None else (self.best_score, -self.best_loss)
        self.validations.append((step, loss))
        is_best = step > 0 and not math.isnan(loss) and (best is None or (score, -loss) > best)
        if is_best:
            self.best_step, self.best_score = step, score
        return is_best

    def validations_since_best(self) -> int:
        """How many validations have passed without a better one."""
        if self.best_step is None:
            return 0
        return sum(step > self.best_step for step, _ in self.validations)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values."""
        return {
            "step": self.step,
            "validations": [list(pair) for pair in self.validations],
            "best_step": self.best_step,
            "best_score": self.best_score,
            "seconds": self.seconds,
            "stopped": self.stopped,
            "micro_tokens": self.micro_tokens,
            "held_out_tokens": self.held_out_tokens,
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Progress:
        """The inverse of `to_dict`."""
        return cls(**{**values, "validations": [tuple(pair) for pair in values["validations"]]})
