"""How the size of a data set compares with what its task usually needs."""

from __future__ import annotations

from burnish.tasks.task import Task

_FAR_FEWER = 10
"""A set that has so many times fewer rows than usual is told of as a defect."""


def usual_size(task: Task) -> str:
    """What is usual, in words; empty where nothing is known."""
    if task.usual_rows is None:
        return ""
    least, most = task.usual_rows
    return f"{least:,} to {most:,} are usual for `{task.name}`"


def is_far_too_small(task: Task, rows: int) -> bool:
    """Whether a number of rows is far below what is usual."""
    return task.usual_rows is not None and rows * _FAR_FEWER < task.usual_rows[0]
