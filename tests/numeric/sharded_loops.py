"""What several processes do with the sharded weights of a small model: trained, stopped, continued, written, and lost.

Called in each of the processes that `tests.together` starts; what is returned is compared in the test.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.data.batching.batches import BatchPlan
from burnish.data.batching.parts import PartOfBatches
from burnish.engine.checkpoint import checkpoint_path, damage_of, restore_checkpoint, save_checkpoint
from burnish.engine.optimizer import make_optimizer
from burnish.engine.process import Process
from burnish.errors import BurnishError
from burnish.models import sharded
from burnish.models.sharded import device_of, save_whole, shard_network, whole
from tests.numeric import test_out_of_memory
from tests.numeric.test_out_of_memory import TOTAL, Made
from tests.tiny_models import make_tokenizer

HALF = TOTAL // 2


def make(folder: Path, process: Process, offloads: bool = False) -> Made:
    """The loop of one of several processes, each with a part of every weight."""
    folder.mkdir(parents=True, exist_ok=True)
    made = test_out_of_memory.make(make_tokenizer(), folder, "full", save_every=HALF)
    loop = made.loop
    assert isinstance(loop.source, BatchPlan)
    loop.trainer.process = process
    loop.source = PartOfBatches(loop.source, process.rank, process.world, is_even=True)
    shard_network(loop.trainer.network, torch.device("cpu"), reshards=True, offloads=offloads)
    loop.trainer.optimizer = make_optimizer(loop.trainer.network, loop.recipe.train, {})
    return made


def alone(folder: Path) -> Made:
    """The same loop in one process."""
    return test_out_of_memory.make(make_tokenizer(), folder, "full", save_every=HALF)


def run_shards(process: Process, folder: Path) -> dict[str, Any]:
    """Trains, stops and continues, in the same folder for all processes; and what happens with full disks."""
    found = trained(process, folder / "straight")
    found["continued"] = continued(process, folder / "straight", folder / "continued")
    found["offloaded"] = offloaded(process, folder / "straight", folder / "offloaded")
    found["full disk"] = full_disk(process, folder / "full-disk")
    return found


def trained(process: Process, folder: Path) -> dict[str, Any]:
    """A loop that nothing stopped; its result is written in several files."""
    made = make(folder, process)
    made.loop.run()
    held = [weight.to_local() for weight in made.loop.trainer.network.parameters()]
    result = folder / "result"
    if process.is_main:
        result.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharded, "_FILE_BYTES", 1)  # a file for each block
        save_whole(made.loop.trainer.network, result if process.is_main else None)
    return {"losses": made.losses, "weights": weights_of(made), "held": sum(weight.numel() for weight in held)}


def continued(process: Process, straight: Path, folder: Path) -> dict[str, Any]:
    """The second half of a loop, from the checkpoint of the first."""
    copy(process, checkpoint_path(straight, HALF), folder)
    made = make(folder, process)
    made.loop.progress = restore_checkpoint(checkpoint_path(folder, HALF), made.loop.trainer)
    made.loop.run()
    return {"losses": made.losses, "weights": weights_of(made)}


def offloaded(process: Process, straight: Path, folder: Path) -> dict[str, Any]:
    """The second half of a loop, as torch keeps weights, gradients and moments apart from the device.

    Both are the CPU here, so that this shows the arithmetic and the order of events, and no copy between them.
    """
    copy(process, checkpoint_path(straight, HALF), folder)
    made = make(folder, process, offloads=True)
    made.loop.progress = restore_checkpoint(checkpoint_path(folder, HALF), made.loop.trainer)
    made.loop.run()
    return {"losses": made.losses, "weights": weights_of(made), "device": str(device_of(made.loop.trainer.network))}


def continue_shards(process: Process, folder: Path) -> dict[str, Any]:
    """Goes on from checkpoints that other numbers of processes have written, of sharded and of whole weights."""
    return {name: continued(process, folder / name, folder / f"{name}-continued") for name in ("several", "one")}


def copy(process: Process, source: Path, folder: Path) -> None:
    """Copies a checkpoint into another folder of checkpoints."""
    if process.is_main:
        shutil.copytree(source, folder / source.name)
    process.any(False)


def weights_of(made: Made) -> dict[str, torch.Tensor]:
    """All weights, in every process."""
    return {name: whole(weight.detach()).clone() for name, weight in made.loop.trainer.network.named_parameters()}


def full_disk(process: Process, folder: Path) -> dict[str, Any]:
    """The disk of the last process is full when it writes its part of the second checkpoint."""
    made = make(folder, process)
    loop = made.loop
    save_checkpoint(loop.checkpoints, loop.trainer, loop.progress)
    process.any(False)  # the main one has moved it
    loop.progress.step = 1

    def write(self: Any, *given: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    message = ""
    with pytest.MonkeyPatch.context() as patch:
        if process.rank == process.world - 1:
            from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter

            patch.setattr(HuggingFaceStorageWriter, "write_data", write)
        try:
            save_checkpoint(loop.checkpoints, loop.trainer, loop.progress)
        except BurnishError as error:
            message = f"{error.what} {error.why}"
    process.any(False)
    names = sorted(path.name for path in folder.iterdir())
    return {"message": message, "folders": names, "damage": damage_of(checkpoint_path(folder, 0))}


def run_short_of_memory(process: Process, folder: Path) -> None:
    """Memory runs out in the last process, between two blocks of its third pass."""
    made = make(folder / "short-of-memory", process)
    passes: list[int] = []

    def refuse(module: Any, given: Any) -> None:
        passes.append(1)
        if len(passes) == 3:
            raise MemoryError

    if not process.is_main:
        made.loop.trainer.network.model.layers[1].mlp.register_forward_pre_hook(refuse)
    made.loop.run()
