"""Jobs as a page shows them: state, progress and curves of a bounded number of points, from their folders alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from burnish.jobs.queue import Queue, Viewed
from burnish.runs.event_log import read_events
from burnish.runs.folder import RunFolder

_OF_STEP = {"loss": "training loss", "learning_rate": "learning rate", "gradient_norm": "gradient norm"}
"""Curves of steps, by the name of their field."""


def list_jobs(queue: Queue) -> list[dict[str, Any]]:
    """Every job with its state and progress, as JSON-ready values; the newest first.

    Args:
        queue: of the jobs.
    """
    return [described(viewed) for viewed in queue.all()[::-1]]


def described(viewed: Viewed) -> dict[str, Any]:
    """A job with its state and progress, as JSON-ready values. Times are in seconds since the epoch."""
    job, course = viewed.job, viewed.course
    return {
        "id": job.id,
        "run": str(viewed.folder.run.path),
        "state": viewed.state,
        "created": job.created,
        "ended": job.ended,
        "starts": viewed.starts,
        "said": job.said[-1]["text"] if job.said else "",
        "stage": course.stage if course else "",
        "step": course.step if course else 0,
        "total_steps": course.total_steps if course else None,
        "training_loss": course.loss if course else None,
        "validation_loss": course.validation_loss if course else None,
        "ends": course.ends if course else None,
        "best_step": course.best_step if course else None,
        "details": job.details,
    }


def curves(run: RunFolder, most: int = 500) -> dict[str, list[tuple[int, float]]]:
    """The metrics of a run as curves of (step, value), by name; values that are not finite are left out.

    Args:
        run: its folder.
        most: points of a curve.

    Raises:
        DamagedRun: the log of its metrics cannot be read.
    """
    found: dict[str, list[tuple[int, float]]] = {}
    for event in read_events(run.metrics):
        if event["event"] == "StepDone":
            values = {shown: event.get(name) for name, shown in _OF_STEP.items()}
        elif event["event"] == "Validated":
            values = {"validation loss": event["loss"], **event.get("figures", {})}
        else:
            continue
        for name, value in values.items():
            if value is not None:
                found.setdefault(name, []).append((event["step"], value))
    return {name: decimated(points, most) for name, points in found.items()}


def decimated(points: Sequence[Any], most: int) -> list[Any]:
    """At most so many points, at least two, the first and the last among them, evenly spread."""
    if len(points) <= most:
        return list(points)
    step = (len(points) - 1) / (most - 1)
    return [points[round(number * step)] for number in range(most)]
