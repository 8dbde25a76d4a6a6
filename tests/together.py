"""Several processes on this machine that run a function of the tests, as under torchrun but without its agent."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import socket
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from burnish.engine.process import Process, join
from burnish.system.place import place_here
from tests.forked import Forked

PATIENCE_SECONDS = 900


class Solo(Process):
    """A group of one without torch.distributed: it takes the paths of a group, and has nobody to talk to."""

    @property
    def is_alone(self) -> bool:
        """So that it takes those paths."""
        return False


class Together:
    """Running processes.

    Args:
        function: `module:name`; called with the process and the folder in each; what it returns is pickled.
        world: number of processes.
        folder: for their files.
    """

    def __init__(self, function: str, world: int, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._running = [
            Forked(partial(_run, function, {**os.environ, **variables}, folder)) for variables in places(world)
        ]

    def results(self) -> list[Any]:
        """What the function has returned in each process, by rank."""
        outputs = self.wait()
        codes = self.codes
        assert codes == [0] * len(codes), "\n".join(outputs)[-6000:]
        return [pickle.loads((self.folder / f"{rank}.pickle").read_bytes()) for rank in range(len(codes))]

    def wait(self, seconds: float = PATIENCE_SECONDS) -> list[str]:
        """Waits for all of them, at most so long; returns their output."""
        deadline = time.monotonic() + seconds
        try:
            return ["".join(process.communicate(deadline - time.monotonic())) for process in self._running]
        finally:
            for process in self._running:
                process.close()

    @property
    def codes(self) -> list[int]:
        """Exit codes of ended processes."""
        return [process.wait(0) for process in self._running]


def places(world: int) -> Iterator[dict[str, str]]:
    """The variables of each process."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    for rank in range(world):
        yield {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world),
            "LOCAL_WORLD_SIZE": str(world),
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": str(port),
            "TORCH_CPP_LOG_LEVEL": "ERROR",
        }


def _run(function: str, variables: Mapping[str, str], folder: Path) -> int:
    """One of the processes."""
    os.environ |= variables
    module, _, name = function.partition(":")
    with join(place_here()) as process:
        result = getattr(importlib.import_module(module), name)(process, folder)
    (folder / f"{process.rank}.pickle").write_bytes(pickle.dumps(result))
    return 0
