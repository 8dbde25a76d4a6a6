"""The process behind the pages ends without a word, whatever was asked of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from burnish.studio.workbench import Workbench


def note_and_wait(started: str, seconds: float) -> dict[str, Any]:
    """Work that says when it begins."""
    Path(started).touch()
    time.sleep(seconds)
    return {}


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_work_that_was_cancelled_is_no_fault_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page cancels a plan that it waits for when a slider moves on; then the studio is stopped."""
    faults: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", faults.append)
    before = set(threading.enumerate())

    async def ask() -> None:
        bench = Workbench()
        started = tmp_path / "started"
        asked = [asyncio.ensure_future(bench.ask(note_and_wait, str(started), 30.0)) for _ in range(4)]
        await asyncio.to_thread(wait_for, started.exists)
        asked[-1].cancel()
        await asyncio.sleep(0.1)  # until it is cancelled in the pool, too
        bench.close()
        await asyncio.gather(*asked, return_exceptions=True)

    asyncio.run(ask())
    wait_for(lambda: not [one for one in threading.enumerate() if one not in before and not one.daemon])
    assert faults == []
