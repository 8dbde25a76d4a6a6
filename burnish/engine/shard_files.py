"""Tensors of which each of several processes writes its part, by torch.distributed.checkpoint, as safetensors files.

Read back, they are put together for any number of processes, one included. A file that holds whole tensors is read in
the same way. torch's own format of such checkpoints has a pickle in it, which is why it is not used.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from burnish.engine.process import Process, peer_lost, says_lost
from burnish.errors import BurnishError, MachineError
from burnish.runs.atomic import disk_error, disk_number, write_folder


@contextmanager
def shared_folder(path: Path, process: Process) -> Iterator[Path]:
    """As `write_folder`, for all processes: each yields the same temporary folder, which the main one makes and moves.

    Raises:
        MachineError: the disk is full or read-only.
    """
    if not process.is_main:
        yield Path(process.decide(str))
        return
    with write_folder(path) as folder:
        process.decide(lambda: str(folder))
        yield folder


def check_shared(folder: Path, process: Process) -> None:
    """Checks that every process sees a folder into which all will write.

    Args:
        folder: that the main process has made.
        process: of those that write.

    Raises:
        MachineError: naming the first that does not.
    """
    lacking = [rank for rank, is_there in enumerate(process.gather(folder.is_dir())) if not is_there]
    if lacking:
        raise MachineError(
            f"rank {lacking[0]} of {process.world} does not see the run folder `{folder}`",
            "With sharded weights every process writes its part of a checkpoint into it.",
            "Give `--runs` a folder on a disk that all machines share, or use `--set distributed.strategy=replicas`",
        )


def write_shards(tensors: Mapping[str, torch.Tensor], folder: Path, process: Process) -> list[Path]:
    """Writes each process's part of sharded tensors, and whole ones once; returns the files of this process.

    Raises:
        MachineError: the disk of any process is full.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        save(dict(tensors), storage_writer=writer)
    except CheckpointException as error:
        raise _why(error, folder, process.world) from error
    return sorted(folder.glob(f"shard-{process.rank + 1:05}-*.safetensors"))


def _why(error: Any, folder: Path, world: int) -> BurnishError:
    """The error of the first process that could not write or read its part."""
    rank, (cause, _) = min(error.failures.items())
    if says_lost(cause):
        return peer_lost()
    if number := disk_number(cause):
        return disk_error(folder.parent, f"{os.strerror(number)} (rank {rank} of {world})")
    return BurnishError(
        f"rank {rank} of {world} could not write or read its part of a checkpoint",
        " ".join(str(cause).split())[:300],
        "Check the folder and its disk, then continue with `burnish resume`",
    )


def names_in(folder: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and type of each tensor in the safetensors files of a folder, by name."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

    found: dict[str, Any] = HuggingFaceStorageReader(str(folder)).read_metadata().state_dict_metadata
    return {name: (one.size, one.properties.dtype) for name, one in found.items()}


def read_shards(tensors: Mapping[str, torch.Tensor], folder: Path, is_together: bool) -> None:
    """Overwrites tensors, or parts of sharded ones, by those of the same names in the files of a folder.

    Args:
        tensors: of the sizes that were written.
        folder: with complete files.
        is_together: whether all processes read at the same time.
    """
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = HuggingFaceStorageReader(str(folder))
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "torch.distributed is disabled")  # so it was meant
            load(dict(tensors), storage_reader=reader, no_dist=not is_together)
    except CheckpointException as error:
        raise _why(error, folder, len(error.failures)) from error
