"""Trackers: programs that keep the curves of runs, each in a file of its own, behind an extra, without a network."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from burnish.errors import MachineError
from burnish.runs.event_log import EventLog
from burnish.runs.folder import RunFolder
from burnish.trackers.tracker import TrackedRun, Tracker, Tracking

_TRACKERS = {
    "tensorboard": "burnish.trackers.tensorboard:TensorBoard",
    "wandb": "burnish.trackers.wandb:WeightsAndBiases",
    "mlflow": "burnish.trackers.mlflow:MLflow",
    "trackio": "burnish.trackers.trackio:Trackio",
}
"""By the name of the package that each needs, which is also that of its extra."""


def check_trackers(names: Sequence[str]) -> None:
    """Refuses a tracker whose package is missing.

    Raises:
        MachineError: one is.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise MachineError(
                f"`track: [{name}]` needs the package {name}",
                "It is not installed here.",
                f"`pip install 'burnish[{name}]'`, or leave it out of `track`",
            )


@contextmanager
def tracked(names: Sequence[str], options: Mapping[str, Any], folder: RunFolder, log: EventLog) -> Iterator[None]:
    """While entered, trackers receive what the run logs; at the end, its evaluation as well.

    Args:
        names: of the trackers; one that is named twice keeps the run once.
        options: of the run by dotted name, none of them `auto`.
        folder: of the run.
        log: of its events.
    """
    run = TrackedRun(folder.name, folder.path, folder.path.absolute().parent, options)
    found = [Tracking(_make(name), run, log) for name in dict.fromkeys(names)]
    for tracking in found:
        log.listen(tracking)
    try:
        yield
    finally:
        for tracking in found:
            tracking.close()


def _make(name: str) -> Tracker:
    module, _, kind = _TRACKERS[name].partition(":")
    return getattr(importlib.import_module(module), kind)()
