"""How much of the processor other programs use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from burnish.system import load
from burnish.system.load import OtherPrograms


@pytest.mark.parametrize(
    ("busy", "own", "share"),
    [
        (1.0, 1.0, 0.0),  # nothing but this process
        (2.0, 1.0, 0.25),  # another uses as much
        (4.0, 1.0, 0.75),
        (0.5, 1.0, 0.0),  # the counters tick at different times
    ],
)
def test_the_share_is_of_all_cores(busy: float, own: float, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds on two cores."""
    readings: Iterator[tuple[float, float, float]] = iter([(10.0, 100.0, 5.0), (10.0 + busy, 104.0, 5.0 + own)])
    monkeypatch.setattr(load, "_seconds", lambda: next(readings))
    with OtherPrograms() as others:
        pass
    assert others.share == pytest.approx(share)


def test_a_moment_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    readings: Iterator[tuple[float, float, float]] = iter([(10.0, 100.0, 5.0), (10.01, 100.01, 5.0)])
    monkeypatch.setattr(load, "_seconds", lambda: next(readings))
    with OtherPrograms() as others:
        pass
    assert others.share == 0.0


def test_the_counters_of_this_machine_run() -> None:
    busy, whole, own = load._seconds()
    sum(range(3_000_000))
    later = load._seconds()
    assert 0 < busy <= whole
    assert later[2] > own > 0
    assert later[1] >= whole
