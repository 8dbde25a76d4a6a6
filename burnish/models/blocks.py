"""Finding the parts of a model by looking at it, not at a list of names."""

from __future__ import annotations

from typing import Any

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


def count_parameters(network: Any) -> tuple[int, int]:
    """Trainable parameters and all parameters; tied ones count once."""
    parameters = list(network.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)
