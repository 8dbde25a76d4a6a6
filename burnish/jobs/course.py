"""How far a run is, from its logs: read on as they grow, so that watching a long run costs no more than a short one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from burnish.runs.event_log import parse_event
from burnish.runs.folder import RunFolder

_READ_BYTES = 1 << 22


@dataclass(frozen=True, slots=True)
class Course:
    """How far a run is."""

    step: int = 0
    total_steps: int | None = None
    loss: float | None = None
    """Of the last step."""
    validation_loss: float | None = None
    """Of the last validation."""
    stage: str = ""
    """What it does now, for example `training`."""
    tokens: int = 0
    """Processed in all steps."""
    peak: int | None = None
    """Predicted peak memory of the process in bytes."""
    after: float = 0.0
    """Predicted seconds from the end of the training to the end of the run."""
    ends: float | None = None
    """When it is expected to end, in seconds since the epoch; None if that is not known yet."""
    finished: float | None = None
    """When it had its result, in seconds since the epoch."""
    best_step: int | None = None
    """Whose weights are the result."""

    def then(self, event: dict[str, Any]) -> Course:
        """How far it is after another event of its logs."""
        time = float(event.get("time") or 0.0)
        match event["event"]:
            case "Stage":
                return replace(self, stage=str(event.get("name", "")))
            case "MemoryPredicted":
                return replace(self, peak=event.get("resident"))
            case "TimePlanned":
                after = float(event.get("evaluation") or 0.0)
                return replace(self, after=after, ends=time + float(event.get("seconds") or 0.0) + after)
            case "TrainingStarted":
                return replace(self, total_steps=event.get("total_steps"), stage="training")
            case "StepDone":
                return replace(
                    self,
                    step=event["step"],
                    total_steps=event["total_steps"],
                    loss=event["loss"],
                    tokens=self.tokens + int(event.get("tokens") or 0),
                    ends=time + float(event.get("seconds_left") or 0.0) + self.after,
                )
            case "Validated":
                return replace(self, validation_loss=event["loss"])
            case "Finished":
                return replace(self, finished=time, ends=time, best_step=event["best_step"])
            case _:
                return self


class Log:
    """A log that is read on from where it was read to. What replaces it, or cuts it, is read from its beginning.

    Args:
        path: of the log, which need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._place, self._file = path, 0, (0, 0)

    @property
    def is_replaced(self) -> bool:
        """Whether what was read so far is no longer the beginning of the log."""
        try:
            stat = self._path.stat()
        except OSError:
            return self._place > 0
        return self._place > 0 and ((stat.st_dev, stat.st_ino) != self._file or stat.st_size < self._place)

    def restart(self) -> None:
        """Reads from the beginning next time."""
        self._place = 0

    def read(self) -> Iterator[dict[str, Any]]:
        """The events since the last time; what is not one is passed over, as it is for whoever only watches."""
        try:
            with self._path.open("rb") as file:
                stat = self._path.stat()
                self._file = (stat.st_dev, stat.st_ino)
                file.seek(self._place)
                while block := file.read(_READ_BYTES):
                    whole = block.rfind(b"\n") + 1
                    if not whole:
                        return  # the last line is still being written
                    self._place += whole
                    file.seek(self._place)
                    yield from filter(None, map(parse_event, block[:whole].split(b"\n")))
        except OSError:
            return


class Watch:
    """Watches a run.

    Args:
        run: its folder.
    """

    def __init__(self, run: RunFolder) -> None:
        self._logs = (Log(run.events), Log(run.metrics))
        self._course = Course()

    def read(self) -> Course:
        """How far the run is."""
        if any(log.is_replaced for log in self._logs):
            for log in self._logs:
                log.restart()
            self._course = Course()
        # the plan comes before the steps: what follows the training is in the first log
        for log in self._logs:
            for event in log.read():
                try:
                    self._course = self._course.then(event)
                except (KeyError, TypeError, ValueError):
                    continue  # a damaged event, which every command that opens the run reports
        return self._course
