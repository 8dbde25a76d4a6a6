"""Trackio, local: all runs of a folder in its `trackio`, shown by `TRACKIO_DIR=runs/trackio trackio show`."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
from collections.abc import Iterator, Mapping
from typing import ClassVar

from burnish.errors import InputError
from burnish.trackers.tracker import TrackedRun

PROJECT = "burnish"


class Trackio:
    """A run in a local SQLite file; no Space, no dashboard, no figures of the machine."""

    name: ClassVar[str] = "trackio"

    def begin(self, run: TrackedRun, step: int) -> None:
        """Opens the run, or opens it again.

        Raises:
            InputError: this process has kept runs of another folder, and Trackio has one folder a process.
        """
        place = str((run.runs / "trackio").absolute())
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        os.environ.setdefault("TRACKIO_DIR", place)
        with _silently():
            trackio = importlib.import_module("trackio")
            if str(trackio.TRACKIO_DIR) != place:
                raise InputError(f"Trackio keeps runs in `{trackio.TRACKIO_DIR}`, and has one folder a process")
            self._run = trackio.init(
                project=PROJECT,
                name=run.name,
                config=run.texts(),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """A row of figures."""
        with _silently():
            self._run.log(dict(figures), step=step)

    def end(self) -> None:
        """Waits until all is written."""
        with _silently():
            self._run.finish()


@contextlib.contextmanager
def _silently() -> Iterator[None]:
    """Trackio speaks on standard output, which belongs to results."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
