"""A network whose weights are sharded: each of several processes holds a part of every weight (FSDP2).

torch gathers the weights of a block before it computes and frees them after it; those outside of the blocks are
gathered while a whole pass through the network runs. A loss may call the body and the head of a network, rather than
the network itself, so every such pass runs inside of `compute`, where all weights outside of the blocks are whole.

All processes have to make equally many passes, in the same order: each pass gathers weights from all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from burnish.errors import ModelError
from burnish.models.blocks import block_lists
from burnish.models.config import model_kind

_Result = TypeVar("_Result")
_HELD = "burnish_shards"
_FILE_BYTES = 4 << 30
"""Blocks are written together up to this size; no block is divided."""


class _Whole(nn.Module):
    """Runs work on a network, between the hooks by which torch gathers and frees the weights outside of the blocks."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, work: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """The result of the work."""
        return work(self.network, *given, **named)


class _Holder:
    """Keeps the outer module of a network without becoming one of the network's own modules."""

    def __init__(self, outer: _Whole, device: torch.device) -> None:
        self.outer = outer
        self.device = device


def shard_network(network: Any, device: torch.device, reshards: bool, offloads: bool = False) -> None:
    """Shards all weights of a network over all processes, in place. Its modules keep their names.

    Weights are gathered in the type in which they are stored, and gradients are added up in it: the arithmetic is that
    of one process, and autocast chooses the precision of products.

    Args:
        network: trainable, with the same weights in every process; on the device, or in CPU memory, from which its
            blocks are moved one after the other.
        device: of this process.
        reshards: whether the weights of a block are freed after its forward pass and gathered again for the backward
            pass.
        offloads: whether this process's part of weights and gradients stays in CPU memory, where the optimizer then
            works; blocks are whole, and on the device, only while they compute.

    Raises:
        ModelError: blocks share weights, or may be skipped.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, OffloadPolicy, fully_shard

    if reason := cannot_shard(network):
        raise ModelError(
            "the weights of this model cannot be sharded",
            reason,
            "Use `--set distributed.strategy=replicas`",
        )
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    policy = CPUOffloadPolicy(pin_memory=device.type == "cuda") if offloads else OffloadPolicy()
    for name in unit_names(network):
        unit = network.get_submodule(name)
        fully_shard(unit, mesh=mesh, reshard_after_forward=reshards, offload_policy=policy)
    outer = _Whole(network)
    fully_shard(outer, mesh=mesh, offload_policy=policy)
    for module in outer.modules():
        if isinstance(module, FSDPModule):
            # the loop divides by the trained tokens of all processes, so gradients are sums; gloo knows no other kind
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    # a micro-batch may leave out parts of such a network, which then have no gradient in this process alone
    outer.set_reduce_scatter_unused_params(_is_conditional(network.config))  # pyright: ignore[reportCallIssue]
    setattr(network, _HELD, _Holder(outer, device))


def cannot_shard(network: Any) -> str:
    """Why a network cannot be sharded, as a sentence; empty if it can."""
    owners: dict[int, str] = {}
    units = unit_names(network)
    if not units:
        return "It has no blocks."
    for name, weight in network.named_parameters(remove_duplicate=False):
        unit = next((unit for unit in units if name.startswith(f"{unit}.")), "")
        if owners.setdefault(id(weight), unit) != unit:
            return f"Its blocks share weights, such as `{name}`."
    parts = [network.config, network.config.get_text_config()]
    skipped = [
        option for part in parts for option, value in vars(part).items() if option.endswith("layerdrop") and value
    ]
    return f"It skips blocks at random (`{skipped[0]}` in its config)." if skipped else ""


def is_sharded(network: Any) -> bool:
    """Whether `shard_network` has sharded the weights of a network."""
    return hasattr(network, _HELD)


def device_of(network: Any) -> torch.device:
    """The device on which a network computes, where its inputs have to be; offloaded weights are in CPU memory."""
    holder = getattr(network, _HELD, None)
    return next(network.parameters()).device if holder is None else holder.device


def compute(network: Any, work: Callable[..., _Result], *given: Any, **named: Any) -> _Result:
    """`work(network, ...)`, which may call any part of the network, sharded or not.

    Args:
        network: on its device.
        work: makes one or several passes through it.
        given: further arguments of the work.
        named: the same by name.
    """
    holder = getattr(network, _HELD, None)
    if holder is None:
        return work(network, *given, **named)
    result = holder.outer(work, *given, **named)
    if not torch.is_grad_enabled():
        _free(holder.outer)
    return result


def _free(outer: nn.Module) -> None:
    """Frees what no backward pass will free, and what would be out of date after the next change of the weights."""
    from torch.distributed.fsdp import FSDPModule

    for module in outer.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor with all its elements; all processes have to ask for it. Unchanged if it is not sharded."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor  # pyright: ignore[reportAttributeAccessIssue]


def fill_shard(shard: torch.Tensor, values: torch.Tensor) -> None:
    """Overwrites a tensor, or this process's part of it, from all its elements."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(shard, DTensor):
        shard.copy_(values)
        return
    values = values.to(shard.device, shard.dtype)
    part = distribute_tensor(values, shard.device_mesh, shard.placements, src_data_rank=None)
    shard.to_local().copy_(part.to_local())


def save_whole(network: Any, folder: Path | None) -> None:
    """Writes a sharded network as transformers does, block by block; all processes have to take part.

    Args:
        network: sharded.
        folder: where this process writes; None in those that only contribute their parts.
    """
    parts = list(_files(network))
    total, places = 0, {}
    for number, names in enumerate(parts, 1):
        tensors = _gathered(network, names, is_kept=folder is not None)
        if folder is None:
            continue
        if len(parts) == 1:
            network.save_pretrained(str(folder), state_dict=tensors, max_shard_size="1000GB")
            return
        path = folder / f"model-{number:05}-of-{len(parts):05}.safetensors"
        total += sum(tensor.nbytes for tensor in tensors.values())
        places |= dict.fromkeys(_save_part(network, tensors, path), path.name)
    if folder is not None:
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
        text = json.dumps(index, indent=2) + "\n"
        (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")


def _save_part(network: Any, tensors: dict[str, torch.Tensor], path: Path) -> list[str]:
    """Writes some of the weights, and the config beside them; returns the names that transformers gives to them."""
    from safetensors import safe_open

    made = path.with_suffix("")  # a folder of its own, because transformers removes earlier weights from a folder
    network.save_pretrained(str(made), state_dict=tensors, max_shard_size="1000GB")
    for file in made.iterdir():
        file.replace(path if file.suffix == path.suffix else path.parent / file.name)
    made.rmdir()
    with safe_open(path, "pt") as file:
        return list(file.keys())


def _gathered(network: Any, names: list[str], is_kept: bool) -> dict[str, torch.Tensor]:
    """Some of the weights and buffers with all their elements, on the host; tied ones are the same tensor."""
    state, made, found = network.state_dict(keep_vars=True), {}, {}
    for name in names:
        key = id(state[name])
        if key not in made:
            tensor = whole(state[name].detach())
            made[key] = tensor.cpu() if is_kept else None
        if made[key] is not None:
            found[name] = made[key]
    return found


def _files(network: Any) -> Iterator[list[str]]:
    """The names of the weights and buffers of each file: the first has those outside of the blocks."""
    state, units = network.state_dict(keep_vars=True), unit_names(network)
    grouped: dict[str, list[str]] = {"": [], **{unit: [] for unit in units}}
    for name in state:
        grouped[next((unit for unit in units if name.startswith(f"{unit}.")), "")].append(name)
    names: list[str] = []
    size = 0
    for group in grouped.values():
        more = sum(state[name].numel() * state[name].element_size() for name in group)
        if names and size + more > _FILE_BYTES:
            yield names
            names, size = [], 0
        names, size = names + group, size + more
    yield names


def unit_names(network: Any) -> list[str]:
    """The modules that are gathered one after the other: the blocks that every pass computes.

    An encoder of pictures is not among them: rows without pictures leave it out.
    """
    lists = block_lists(network)
    chosen = lists[-1:] if model_kind(network.config) == "image-text" else lists
    return [f"{name}.{index}" for name in chosen for index in range(len(network.get_submodule(name)))]


def _is_conditional(config: Any) -> bool:
    """Whether a row may leave out parts of a model: the encoder of pictures, or experts."""
    experts = ("num_experts", "num_local_experts", "n_routed_experts")
    text = config.get_text_config()
    return model_kind(config) == "image-text" or any(getattr(text, name, None) for name in experts)
