"""Weights & Biases, offline: all runs of a folder in its `wandb`; only `wandb sync` sends them.

Not in the run's own folder: it holds links, which run folders must not.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any, ClassVar

from burnish.trackers.tracker import TrackedRun

PROJECT = "burnish"


class WeightsAndBiases:
    """An offline run. Nothing is collected besides the options and the figures, and nothing is sent."""

    name: ClassVar[str] = "wandb"

    def begin(self, run: TrackedRun, step: int) -> None:
        """Opens an offline run; a resumed one has the same identity, so that `wandb sync` joins their parts."""
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        import wandb

        settings = wandb.Settings(
            console="off",
            silent=True,
            disable_git=True,
            disable_code=True,
            save_code=False,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
        )
        self._run: Any = wandb.init(
            project=PROJECT,
            name=run.name,
            id=hashlib.sha256(str(run.folder.absolute()).encode()).hexdigest()[:16],
            dir=str(run.runs),
            mode="offline",
            config=dict(run.options),
            settings=settings,
        )
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """A row of figures with its step, which several rows may have."""
        self._run.log({**figures, "step": step})

    def end(self) -> None:
        """Closes the run."""
        self._run.finish()
