"""What notifies a meter of the training of transformers' `Trainer` and of what is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

if TYPE_CHECKING:
    from meter import Meter


class Note(TrainerCallback):
    """Notifies the meter."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def on_train_begin(self, *args: Any, **others: Any) -> None:
        """The loop begins."""
        self._meter.begin()

    def on_step_end(self, *args: Any, **others: Any) -> None:
        """A step is done."""
        self._meter.step()
