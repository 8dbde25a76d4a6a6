"""Where processes meet: they wait for the one that keeps the place, and signals are noticed meanwhile."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from burnish.engine.meeting import open_store, stores
from burnish.errors import MachineError
from burnish.system.place import Place, place_here
from tests.together import places


def place(rank: int, variables: list[dict[str, str]]) -> Place:
    """The place of a rank."""
    found = place_here(variables[rank])
    assert found is not None
    return found


def test_a_place_without_a_listener_is_an_error_that_says_where() -> None:
    other = place(1, list(places(2)))
    with pytest.raises(MachineError, match="rank 1 of 2 cannot reach the other processes") as caught:
        open_store(other, 0.2)
    assert f"port {other.port}" in caught.value.why


def test_a_signal_is_noticed_while_a_process_waits() -> None:
    class Asked(Exception):
        """To end."""

    def end(number: int, frame: Any) -> None:
        raise Asked

    before = signal.signal(signal.SIGUSR1, end)
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    begun = time.monotonic()
    try:
        with pytest.raises(Asked):
            open_store(place(1, list(places(2))), 60)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - begun < 30


def test_one_that_comes_later_is_waited_for() -> None:
    variables = list(places(2))
    kept: list[Any] = []
    threading.Timer(0.3, lambda: kept.append(open_store(place(0, variables), 30))).start()
    store = open_store(place(1, variables), 30)
    store.set("key", "value")
    while not kept:
        time.sleep(0.01)
    assert kept[0].get("key") == b"value"


@pytest.mark.parametrize(("has_agent", "is_same"), [(False, True), (True, False)])
def test_attempts_are_apart_only_where_a_store_outlives_them(has_agent: bool, is_same: bool) -> None:
    """Every agent counts its own: one that was started again is at its first where the other is at its second."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    main = replace(place(0, list(places(2))), port=port, has_agent=False)
    _, first = stores(main)
    first.set("note", "first")
    other = replace(main, rank=1, has_agent=has_agent, attempt=1)
    assert stores(other, 30)[1].check(["note"]) is is_same
