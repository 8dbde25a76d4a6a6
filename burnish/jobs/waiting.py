"""When a waiting job starts: from the plans of those before it, and from how far those are that run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from burnish.jobs.children import Child
from burnish.jobs.course import Course
from burnish.jobs.job import read_json

_SPARE = 0.1
"""Share of the free memory that a job started beside others leaves."""
_OPENING_SECONDS = 6.0
"""Of a process before its plan: libraries and rows. It only moves the estimate."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that waits."""

    id: str
    seconds: float | None
    """It will take; None if it has not been planned."""


def planned_seconds(plan: Path) -> float | None:
    """How long a job takes according to its plan; None if that is not known."""
    found = read_json(plan) or {}
    run, evaluation = found.get("run"), found.get("evaluation")
    if not isinstance(run, dict) or not isinstance(run.get("seconds"), int | float):
        return None
    after = evaluation.get("seconds", 0.0) if isinstance(evaluation, dict) else 0.0
    return float(run["seconds"]) + float(after) + _OPENING_SECONDS


def needed_bytes(plan: Path) -> int | None:
    """Peak memory of a job's process according to its plan; None if that is not known."""
    found = read_json(plan) or {}
    peak = found.get("peak")
    return peak if isinstance(peak, int) else None


def has_room(needed: int | None, beside: Sequence[tuple[Child | None, Course | None]]) -> bool:
    """Whether a job can be started beside others without taking memory that these will need.

    Args:
        needed: its peak in bytes; None, if it has not been planned, is too much.
        beside: the processes that run, each with how far its run is.
    """
    if needed is None:
        return False
    free = int(psutil.virtual_memory().available * (1 - _SPARE))
    for child, course in beside:
        if child is None or course is None or course.peak is None:
            return False  # it is not known yet what that one will need
        try:
            free -= max(0, course.peak - psutil.Process(child.process).memory_info().rss)
        except psutil.Error:
            continue  # it has ended by now
    return needed <= free


def starts(queue: Sequence[Waiting], ends: Sequence[float | None], at_once: int, now: float) -> dict[str, float | None]:
    """When each job that waits is expected to start, in seconds since the epoch; None if that is not known.

    Args:
        queue: in its order.
        ends: when each running job is expected to end; None if that is not known.
        at_once: jobs that run at a time.
        now: the time.
    """
    # an unknown end is one that never comes: what has to wait for it is not known either
    places = sorted([max(now, end) if end is not None else float("inf") for end in ends])
    places += [now] * max(0, at_once - len(places))
    found: dict[str, float | None] = {}
    for waiting in queue:
        places.sort()
        start = places.pop(0)
        found[waiting.id] = None if start == float("inf") else start
        places.append(float("inf") if waiting.seconds is None else start + waiting.seconds)
    return found
