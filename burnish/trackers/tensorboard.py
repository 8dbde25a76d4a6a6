"""TensorBoard: event files in the run's `tracking/tensorboard`, shown by `tensorboard --logdir runs`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from burnish.trackers.tracker import TrackedRun

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter


class TensorBoard:
    """Scalars by step, and the options as text."""

    name: ClassVar[str] = "tensorboard"

    def begin(self, run: TrackedRun, step: int) -> None:
        """Opens a new event file; of a resumed run, TensorBoard drops what older ones have of later steps."""
        from torch.utils.tensorboard.writer import SummaryWriter

        folder = run.tracking / "tensorboard"
        is_again = folder.is_dir()
        self._writer: SummaryWriter = SummaryWriter(str(folder), purge_step=step if is_again else None)
        lines = [f"{name}: {text}" for name, text in run.texts().items()]
        self._writer.add_text("options", "\n\n".join(lines), step)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """One scalar for each figure."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def end(self) -> None:
        """Closes the file."""
        self._writer.close()
