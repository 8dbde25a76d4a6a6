"""Which of several processes this one is, as torchrun sets it in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

OWN_LAUNCH = "burnish-"
"""How the name of a launch begins that `--processes` started; torchrun draws others."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of this process among those of a run."""

    rank: int
    """From 0; the process of rank 0 is the main one."""
    world: int
    """Number of processes."""
    local_rank: int
    """From 0, among the processes of this machine."""
    local_world: int
    """Number of processes of this machine."""
    node: int
    """Number of this machine, from 0."""
    host: str
    """Where the processes meet."""
    port: int
    attempt: int
    """How often torchrun has started the processes again."""
    launch: str
    """Name of the launch."""
    has_agent: bool
    """Whether torchrun's agent keeps the place where the processes meet; otherwise the main process does."""
    error_file: str
    """Where the agent looks for the error of this process; empty if nowhere."""

    @property
    def is_main(self) -> bool:
        """Whether it is the process that writes the run."""
        return self.rank == 0

    @property
    def is_own_launch(self) -> bool:
        """Whether `--processes` started it, so that its parent reports errors."""
        return self.launch.startswith(OWN_LAUNCH)


def place_here(environment: Mapping[str, str] = os.environ) -> Place | None:
    """The place of this process; None if torchrun, or something like it, has not started it.

    Args:
        environment: variables that torchrun sets.
    """
    try:
        rank, world, port = (int(environment[name]) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
        host = environment["MASTER_ADDR"]
        local_rank = int(environment.get("LOCAL_RANK", rank))
        local_world = int(environment.get("LOCAL_WORLD_SIZE", world))
        node = int(environment.get("GROUP_RANK", rank // max(1, local_world)))
        attempt = int(environment.get("TORCHELASTIC_RESTART_COUNT", 0))
    except (KeyError, ValueError):
        return None
    if not 0 <= rank < world:
        return None
    return Place(
        rank=rank,
        world=world,
        local_rank=local_rank,
        local_world=local_world,
        node=node,
        host=host,
        port=port,
        attempt=attempt,
        launch=environment.get("TORCHELASTIC_RUN_ID", ""),
        has_agent=environment.get("TORCHELASTIC_USE_AGENT_STORE") == str(True),
        error_file=environment.get("TORCHELASTIC_ERROR_FILE", ""),
    )
