"""Finding the parts of a model by looking at it, not at a list of names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

LINEAR = (nn.Linear, Conv1D)


def block_lists(network: Any) -> list[str]:
    """Names of the module lists that hold the repeated blocks of a network.

    A block list is an `nn.ModuleList` of two or more modules of one class, or of one module where the network has no
    longer list, that does not itself lie inside another block list.
    """
    lists = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) > 0 and len({type(child) for child in module}) == 1
    }
    outer = [name for name in lists if not any(name.startswith(f"{other}.") for other in lists if other != name)]
    longest = max((len(lists[name]) for name in outer), default=0)
    return [name for name in outer if len(lists[name]) > 1 or longest == 1]


def modules_after(network: Any, blocks: str) -> list[str]:
    """Names of the modules that follow a block list on the way to the output: the last norm, the pooler, the head.

    They are registered after it, at any level above. A last norm may be registered before the blocks instead; it then
    stands beside them, with nothing after them, and holds vectors only.
    """
    found, path = [], blocks
    while path:
        parent, _, last = path.rpartition(".")
        siblings = [(name, module) for name, module in network.get_submodule(parent).named_children()]
        position = [name for name, _ in siblings].index(last)
        later = siblings[position + 1 :]
        after = [name for name, module in later if not isinstance(module, nn.Embedding) and list(module.parameters())]
        if path == blocks and not after:
            after = [name for name, module in siblings[:position] if _holds_vectors(module)]
        found += [f"{parent}.{name}" if parent else name for name in after]
        path = parent
    return found


def _holds_vectors(module: nn.Module) -> bool:
    dimensions = {parameter.ndim for parameter in module.parameters()}
    return dimensions == {1}


def linear_layers(network: Any) -> list[str]:
    """Full names of every linear layer inside the blocks: attention and feed-forward, never heads or embeddings."""
    blocks = block_lists(network)
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, LINEAR) and any(name.startswith(f"{block}.") for block in blocks)
    ]


def short_names(network: Any, chosen: list[str]) -> list[str]:
    """The shortest dotted endings that match exactly `chosen` among all modules, sorted.

    An adapter configuration then reads `["down_proj", "q_proj"]` rather than a name per layer. Where an ending would
    also match a module outside `chosen`, more of the path is kept.
    """
    names = [name for name, _ in network.named_modules()]
    wanted, endings = set(chosen), set()
    for name in chosen:
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            ending = ".".join(parts[-length:])
            matched = {other for other in names if other == ending or other.endswith(f".{ending}")}
            if matched <= wanted:
                endings.add(ending)
                break
    return sorted(endings)


def memory_bytes(network: Any) -> int:
    """Bytes that the weights and buffers of a network take; tied ones count once, quantized ones as they are held.

    bitsandbytes keeps the scales and code tables of its weights beside the parameters, where `parameters()` does not
    see them; each is counted once however many layers share it.
    """
    held = held_tensors(network)
    sizes = {tensor.data_ptr() or id(tensor): tensor.numel() * tensor.element_size() for tensor in held}
    return sum(sizes.values())


def held_tensors(network: Any) -> list[torch.Tensor]:
    """Whatever a network holds: weights, buffers, and the tables of quantized weights; ties and shares stand twice."""
    return [*network.parameters(), *network.buffers(), *_quantization_tables(network)]


def _quantization_tables(network: Any) -> Iterator[torch.Tensor]:
    """Scales, scales of scales, offsets and code tables of quantized weights."""
    for module in network.modules():
        weight = module._parameters.get("weight")  # not a property that would compute one
        outer = getattr(weight, "quant_state", None)  # 4 bits
        eight_bits = (weight, getattr(module, "state", None))
        for state in (*eight_bits, outer, getattr(outer, "state2", None)):
            values = (getattr(state, name, None) for name in ("SCB", "absmax", "code", "offset"))
            yield from (value for value in values if isinstance(value, torch.Tensor))


def count_parameters(network: Any) -> tuple[int, int]:
    """Trainable parameters and all parameters; tied ones count once, 4-bit ones as the numbers they stand for."""
    parameters = list(network.parameters())
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    return trainable, sum(math.prod(_full_shape(p)) for p in parameters)


def _full_shape(parameter: torch.nn.Parameter) -> Sequence[int]:
    """The shape of a weight; of one packed in 4 bits, before it was packed."""
    state = getattr(parameter, "quant_state", None)
    return parameter.shape if state is None else state.shape
