"""The log of a run: its events, one JSON line each, in the run folder and to listeners."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from burnish.runs.atomic import told_as_disk_error, write_json_lines
from burnish.runs.events import Event, Listener, Progressed, StepDone, Validated

_METRICS = (StepDone, Validated)
_NOT_WRITTEN = (Progressed,)


def as_dict(event: Event) -> dict[str, Any]:
    """The event as JSON-ready values, with its kind first."""
    return {"event": type(event).__name__, **asdict(event)}


class EventLog:
    """Writes events to the run folder as they come, and hands them to listeners.

    Args:
        folder: the run folder, or None while there is none yet.
        listeners: called in order with every event.
    """

    def __init__(self, folder: Path | None, listeners: Iterable[Listener] = ()) -> None:
        self._folder = folder
        self._listeners = tuple(listeners)
        self._waiting: list[tuple[str, str]] = []

    def attach(self, folder: Path) -> None:
        """Writes to `folder` from now on, beginning with what happened before it was there."""
        self._folder = folder
        for name, line in self._waiting:
            self._append(name, line)
        self._waiting = []

    def __call__(self, event: Event) -> None:
        """Records one event."""
        if not isinstance(event, _NOT_WRITTEN):
            name = "metrics.jsonl" if isinstance(event, _METRICS) else "events.jsonl"
            line = json.dumps({**as_dict(event), "time": round(time.time(), 3)}, ensure_ascii=False)
            if self._folder is None:
                self._waiting.append((name, line))
            else:
                self._append(name, line)
        for listener in self._listeners:
            listener(event)

    def _append(self, name: str, line: str) -> None:
        if self._folder is not None:
            path = self._folder / name
            with told_as_disk_error(path), path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def read_events(path: Path) -> list[dict[str, Any]]:
    """Every whole line of a JSON Lines log; a last line cut by a kill is left out."""
    if not path.exists():
        return []
    events = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return events


def forget_after(path: Path, step: int) -> None:
    """Takes the lines of later steps out of a metrics log, so that a resumed run does not tell them twice."""
    kept = [event for event in read_events(path) if event.get("step", 0) <= step]
    write_json_lines(path, kept)
