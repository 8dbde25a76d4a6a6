"""The log of a run's events: a JSON object per line, metrics in one file and everything else in another."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from burnish.runs.atomic import as_disk_error, flush, write_json_lines
from burnish.runs.damage import damaged, why_unreadable
from burnish.runs.events import Event, Listener, Progressed, StepDone, Validated, as_dict
from burnish.runs.file_forms import fault_of_event
from burnish.system.shell import quoted
from burnish.visible import json_text, parse_json

METRICS, EVENTS = "metrics.jsonl", "events.jsonl"
_METRICS = (StepDone, Validated)
_NOT_WRITTEN = (Progressed,)
_BLOCK_BYTES = 1 << 16
LONGEST_BYTES = 1 << 24
"""Of a line; parsing a longer one, and showing it, would take many times its size."""


class EventLog:
    """Appends events to the run folder as they happen and passes them to listeners.

    Args:
        folder: the run folder; None if it does not exist yet.
        listeners: called in order with every event.
    """

    def __init__(self, folder: Path | None, listeners: Iterable[Listener] = ()) -> None:
        self._folder = folder
        self._listeners = tuple(listeners)
        self._pending: list[tuple[str, str]] = []
        self._checked: set[Path] = set()

    def listen(self, listener: Listener) -> None:
        """Passes every event from now on to another listener, too."""
        self._listeners = (*self._listeners, listener)

    def attach(self, folder: Path) -> None:
        """Writes to `folder` from now on, starting with the events that happened before it existed."""
        self._folder = folder
        for name, line in self._pending:
            self._append(name, line)
        self._pending = []

    def __call__(self, event: Event) -> None:
        """Logs one event and notifies the listeners."""
        if not isinstance(event, _NOT_WRITTEN):
            name = METRICS if isinstance(event, _METRICS) else EVENTS
            line = json_text({**as_dict(event), "time": round(time.time(), 3)})
            if self._folder is None:
                self._pending.append((name, line))
            else:
                self._append(name, line)
        for listener in self._listeners:
            listener(event)

    def _append(self, name: str, line: str) -> None:
        if self._folder is not None:
            path = self._folder / name
            with as_disk_error(path):
                if path not in self._checked:
                    _drop_cut_line(path)
                    self._checked.add(path)
                with path.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")


def flush_logs(folder: Path) -> None:
    """Makes sure that a power cut loses no line that was logged so far.

    A checkpoint relies on the lines up to its step: a resumed run takes its findings from them.
    """
    for path in (folder / METRICS, folder / EVENTS):
        if path.is_file():
            with as_disk_error(path):
                flush(path)


def _drop_cut_line(path: Path) -> None:
    """Removes a last line that was cut short by a kill or a full disk: the next event would become a part of it."""
    if not path.is_file():
        return
    with path.open("rb+") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _BLOCK_BYTES)
            file.seek(start)
            if (found := file.read(end - start).rfind(b"\n")) >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)


def read_events(path: Path) -> list[dict[str, Any]]:
    """Every event of a JSON Lines log; lines cut short by a kill or a full disk are left out.

    Raises:
        DamagedRun: the file is unreadable, or a line is not an event.
    """
    if not path.exists():
        return []
    try:
        # only at line feeds: a text may hold other characters that end a line, such as U+2028
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise damaged(path, why_unreadable(error)) from error
    events = []
    for number, line in enumerate(lines, start=1):
        if (event := parse_event(line)) is not None:
            if why := fault_of_event(event):
                raise damaged(path, f"in line {number}, {why}")
            events.append(event)
        elif number < len(lines) and not _is_cut(line):
            raise damaged(
                path, f"line {number} is not an event", f"Remove that line: `sed -i.bak {number}d {quoted(str(path))}`"
            )
    return events


def parse_event(line: bytes) -> dict[str, Any] | None:
    """The event in a line of a log; None if it is damaged, cut short or far longer than any event."""
    if len(line) > LONGEST_BYTES:
        return None
    try:
        event = parse_json(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _is_cut(line: bytes) -> bool:
    """Whether a line is the beginning of an event: in earlier versions, the next event could follow on the same
    line."""
    return not line or line.startswith(b'{"event": "')


def drop_after(path: Path, step: int, kinds: Collection[str] = ()) -> None:
    """Removes the lines of later steps from a log, so that a resumed run does not log them twice.

    Args:
        path: of the log.
        step: at which the run resumes.
        kinds: names of the events that are removed; none for all.

    Raises:
        DamagedRun: a line is not an event.
    """
    events = read_events(path)
    kept = [event for event in events if event.get("step", 0) <= step or (kinds and event["event"] not in kinds)]
    if len(kept) < len(events):
        write_json_lines(path, kept)
