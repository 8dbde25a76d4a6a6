"""Checkpoints: everything that training needs to continue as if it had never stopped.

    checkpoints/step-000200/
        weights.safetensors     the trained weights, by name
        optimizer.safetensors   AdamW's moments, by parameter number and name
        random.safetensors      torch's generators
        state.json              progress, optimizer settings, other generators, loss scaler
        checksums.json          SHA-256 of each file above; written last

A folder gets its final name only when it is complete, and is used only if every checksum matches. Where the weights are
sharded, each process writes its part of weights and moments into a file of its own in place of the first two.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from burnish.engine.optimizer import moment_tensors, moments, restore_moments
from burnish.engine.process import Process
from burnish.engine.progress import Progress
from burnish.engine.random_state import random_tensors, random_values, restore_random
from burnish.engine.shard_files import names_in, read_shards, shared_folder, write_shards
from burnish.engine.step import Trainer
from burnish.errors import BurnishError
from burnish.models.sharded import is_sharded
from burnish.runs.atomic import remove_folder, remove_leftovers, write_folder
from burnish.runs.folder import checkpoint_folders
from burnish.visible import exact_json, parse_json, read_exact

_WEIGHTS, _OPTIMIZER, _RANDOM = "weights.safetensors", "optimizer.safetensors", "random.safetensors"


def checkpoint_path(checkpoints: Path, step: int) -> Path:
    """The folder of a step's checkpoint."""
    return checkpoints / f"step-{step:06d}"


def trained_weights(network: Any) -> dict[str, torch.Tensor]:
    """The trainable weights by name."""
    return {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}


def save_checkpoint(checkpoints: Path, trainer: Trainer, progress: Progress) -> Path:
    """Writes a checkpoint of the current state. With sharded weights, all processes have to call it.

    Raises:
        MachineError: the disk is full or read-only; older checkpoints are untouched.
    """
    path = checkpoint_path(checkpoints, progress.step)
    if is_sharded(trainer.network):
        _save_in_shards(path, trainer, progress)
        return path
    with write_folder(path) as folder:
        _save_tensors(trained_weights(trainer.network), folder / _WEIGHTS)
        _save_tensors(moments(trainer.optimizer), folder / _OPTIMIZER)
        _save_rest(folder, trainer, progress)
        _save_sums(folder, {file.name: _sha256(file) for file in sorted(folder.iterdir())})
    return path


def _save_in_shards(path: Path, trainer: Trainer, progress: Progress) -> None:
    """The same where every process has its part of each weight and moment, and writes it."""
    process = trainer.process
    with shared_folder(path, process) as folder:
        tensors = trained_weights(trainer.network) | moment_tensors(trainer.optimizer)
        own = write_shards(tensors, folder, process)
        if process.is_main:
            own += _save_rest(folder, trainer, progress)
        # each reads what it has written itself, which may be much
        sums = process.gather({file.name: _sha256(file) for file in own})
        if process.is_main:
            _save_sums(folder, {name: digest for some in sums for name, digest in some.items()})


def _save_rest(folder: Path, trainer: Trainer, progress: Progress) -> list[Path]:
    """Writes what is not sharded; returns the files."""
    state = {
        "progress": progress.to_dict(),
        "optimizer": trainer.optimizer.state_dict()["param_groups"],
        "scaler": trainer.scaler.state_dict(),
        "random": random_values(),
    }
    random, rest = folder / _RANDOM, folder / "state.json"
    _save_tensors(random_tensors(), random)
    rest.write_text(exact_json(state), encoding="utf-8")
    return [random, rest]


def _save_sums(folder: Path, sums: dict[str, str]) -> None:
    """Written last: a checkpoint without checksums is incomplete."""
    (folder / "checksums.json").write_text(json.dumps(sums), encoding="utf-8")


def _save_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, str(path))


def damage_of(path: Path) -> str:
    """What is wrong with the files of a checkpoint, as a sentence; empty if all match their checksums."""
    try:
        sums = parse_json((path / "checksums.json").read_bytes())
        if not isinstance(sums, dict) or not sums:
            return "`checksums.json` lists no files."
        wrong = next((name for name, digest in sums.items() if _sha256(path / name) != digest), None)
        return f"`{wrong}` does not match its checksum." if wrong else ""
    except OSError as error:
        return f"`{Path(error.filename or path).name}` cannot be read: {error.strerror}."
    except ValueError:
        return "`checksums.json` is not JSON."


def is_complete(path: Path) -> bool:
    """Whether every file of a checkpoint exists and matches its checksum."""
    return not damage_of(path)


def newest_complete(checkpoints: Path) -> Path | None:
    """The latest checkpoint with matching checksums; damaged ones are skipped."""
    return next((path for path in reversed(checkpoint_folders(checkpoints)) if is_complete(path)), None)


def newest_usable(checkpoints: Path) -> tuple[Path | None, dict[str, str]]:
    """The latest checkpoint from which a run can be trained to its end, and those that were skipped.

    Returns:
        The checkpoint, or None if there is none; and the name of each later one with what is wrong with it.
    """
    skipped: dict[str, str] = {}
    for path in reversed(checkpoint_folders(checkpoints)):
        damage = damage_of(path) or _damage_of_best(path)
        if not damage:
            return path, skipped
        skipped[path.name] = damage
    return None, skipped


def _damage_of_best(path: Path) -> str:
    """What is wrong with the best checkpoint as of a complete one; a run that continues may need it at its end."""
    progress = read_exact((path / "state.json").read_text(encoding="utf-8"))["progress"]
    step = progress.get("best_step") or progress["step"]
    best = checkpoint_path(path.parent, step)
    if best == path or not (damage := damage_of(best)):
        return ""
    return f"It needs `{best.name}`, the best so far, which is damaged: {damage}"


def restore_checkpoint(path: Path, trainer: Trainer) -> Progress:
    """Restores weights, optimizer, loss scaler and random generators, and returns the progress.

    With sharded weights, all processes have to call it. A checkpoint of sharded weights restores whole ones, too, and
    one of whole weights restores sharded ones.
    """
    restore_weights(path, trainer.network)
    state = read_exact((path / "state.json").read_text(encoding="utf-8"))
    restore_moments(trainer.optimizer, _load_moments(path, trainer), state["optimizer"])
    trainer.scaler.load_state_dict(state["scaler"])
    restore_random(load_file(str(path / _RANDOM)), state["random"])
    return Progress.from_dict(state["progress"])


def _load_moments(path: Path, trainer: Trainer) -> dict[str, torch.Tensor]:
    """The optimizer's state in a checkpoint; of sharded weights, the part of this process."""
    is_together = is_sharded(trainer.network)
    if not is_together and (path / _OPTIMIZER).exists():
        return load_file(str(path / _OPTIMIZER))
    weights = [weight for group in trainer.optimizer.param_groups for weight in group["params"]]
    made: dict[str, torch.Tensor] = {}
    for name, (size, dtype) in names_in(path).items():
        number = name.partition(".")[0]
        if number.isdigit():
            weight = weights[int(number)].detach()
            is_alike = size == weight.shape and size
            made[name] = torch.zeros_like(weight, dtype=dtype) if is_alike else torch.zeros(size, dtype=dtype)
    read_shards(made, path, is_together)
    return made


@torch.no_grad()
def restore_weights(path: Path, network: Any) -> None:
    """Loads the trained weights of a checkpoint into the network. With sharded weights, all processes have to call it.

    Raises:
        BurnishError: the checkpoint has different trained weights.
    """
    present, is_together = trained_weights(network), is_sharded(network)
    is_whole = (path / _WEIGHTS).exists()
    saved = load_file(str(path / _WEIGHTS)) if is_whole and not is_together else {}
    names = saved.keys() or _names_of_weights(path)
    if names != present.keys():
        raise BurnishError(
            f"the checkpoint `{path}` does not fit the model",
            f"It has {len(names)} trained tensors, the model has {len(present)}.",
            "Start a new run",
        )
    if not saved:
        read_shards(present, path, is_together)
    for name, tensor in saved.items():
        present[name].copy_(tensor)


def _names_of_weights(path: Path) -> set[str]:
    """Names of the weights in a checkpoint of any layout; moments begin with the number of their parameter."""
    others = load_file(str(path / _RANDOM)).keys()
    return {name for name in names_in(path) if not name.partition(".")[0].isdigit()} - others


def share_checkpoint(trainer: Trainer, progress: Progress) -> Progress:
    """Gives every process what the main one has restored: weights, optimizer and loss scaler; returns the progress.

    Each process of a run needs no file of it.
    """
    process, optimizer = trainer.process, trainer.optimizer
    if process.is_alone or is_sharded(trainer.network):
        return progress
    share_weights(trainer.network, process)
    kept, groups, scaler, progress = process.decide(
        lambda: (moments(optimizer), optimizer.state_dict()["param_groups"], trainer.scaler.state_dict(), progress)
    )
    if not process.is_main:
        restore_moments(optimizer, kept, groups)
        trainer.scaler.load_state_dict(scaler)
    return progress


def share_weights(network: Any, process: Process) -> None:
    """Gives every process the trained weights of the main one."""
    if process.is_alone or is_sharded(network):  # each has its part already
        return
    process.broadcast_into(list(trained_weights(network).values()))


def prune_checkpoints(checkpoints: Path, keep: int, best_step: int | None) -> None:
    """Removes all but the newest `keep` checkpoints and the best one, and the leftovers of interrupted writes."""
    folders = checkpoint_folders(checkpoints)
    kept = folders[-keep:]
    if best_step is not None:
        kept.append(checkpoint_path(checkpoints, best_step))
    for path in folders:
        if path not in kept:
            remove_folder(path)
    remove_leftovers(checkpoints)


_MOMENTS = 2
"""Tensors that AdamW keeps for each weight."""


def bytes_written(network: Any, keep: int) -> int:
    """What a run takes on disk at least: its checkpoints (the newest, and one that is being written) and the result.

    Args:
        network: trainable.
        keep: number of newest checkpoints that are kept.
    """
    return _trained_bytes(network) + checkpoint_bytes(network) * (keep + 1)


def checkpoint_bytes(network: Any) -> int:
    """Size of a checkpoint of a trainable network on disk: its trained weights and their moments."""
    return _trained_bytes(network) * (1 + _MOMENTS)


def _trained_bytes(network: Any) -> int:
    return sum(weight.numel() * weight.element_size() for weight in trained_weights(network).values())


def folder_bytes(path: Path) -> int:
    """Total size of the files in a folder, in bytes."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
