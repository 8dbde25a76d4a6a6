"""How many rows a task usually needs."""

from __future__ import annotations

from typing import NamedTuple


class UsualSize(NamedTuple):
    """Rows that guides for beginners advise."""

    least: int
    most: int


USUAL = {
    "classify": UsualSize(500, 5_000),
    "tag": UsualSize(1_000, 5_000),
    "span": UsualSize(1_000, 5_000),
    "chat": UsualSize(1_000, 50_000),
    "text-to-text": UsualSize(1_000, 50_000),
    "text": UsualSize(1_000, 10_000),
}
"""By task; of the others the guides say nothing."""
_FAR_FEWER = 10
"""A set that has so many times fewer rows than usual is told of as a defect."""


def compare_size(task: str, rows: int) -> tuple[str, bool]:
    """How a number of rows compares, in words, and whether it is far too small."""
    usual = USUAL.get(task)
    if usual is None:
        return "", False
    told = f"{usual.least:,} to {usual.most:,} are usual for `{task}`"
    return told, rows * _FAR_FEWER < usual.least
