"""Where the processes of a launch meet: a store of torch's, which an agent keeps, or the main process."""

from __future__ import annotations

import socket
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from burnish.errors import MachineError
from burnish.system.place import Place

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

JOINING_SECONDS = 300.0
"""For all processes of a run to start: they import the same libraries from the same disk at the same time."""
_TRY_SECONDS, _PAUSE_SECONDS = 1.0, 0.05


def open_store(place: Place, seconds: float = JOINING_SECONDS) -> Store:
    """Where the processes of a launch meet, which outlives a restart of them; torchrun's agent keeps it."""
    from torch._C._distributed_c10d import TCPStore

    is_host = place.is_main and not place.has_agent
    if not is_host:
        _wait_for_host(place, seconds)
    # tenants: this process opens several stores, of which only the first can be the host
    return TCPStore(
        place.host,
        place.port,
        None,
        is_host,
        timeout=timedelta(seconds=seconds),
        wait_for_workers=False,
        multi_tenant=is_host,
    )


def _wait_for_host(place: Place, seconds: float) -> None:
    """Waits until there is a listener where the processes meet. torch waits, too, but notices no signal meanwhile.

    Raises:
        MachineError: there is none in time.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((place.host, place.port), timeout=_TRY_SECONDS).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise MachineError(
                    f"rank {place.rank} of {place.world} cannot reach the other processes",
                    f"Nothing answers at `{place.host}`, port {place.port}: {error}.",
                    "Look for an error of rank 0, and start all processes again",
                ) from error
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def stores(place: Place, seconds: float = JOINING_SECONDS) -> tuple[Store, Store]:
    """What the processes of a launch have noted for each other: in all attempts, and in this one.

    Args:
        place: of this process.
        seconds: to wait at most for the process that keeps it.
    """
    from torch._C._distributed_c10d import PrefixStore

    launch = PrefixStore(f"burnish/{place.launch}", open_store(place, seconds))
    # every agent counts its own attempts, so one that was started again counts from 0; but without a store that agents
    # keep, each attempt has a store of its own
    attempt = place.attempt if place.has_agent else 0
    return launch, PrefixStore(f"attempt/{attempt}", launch)
