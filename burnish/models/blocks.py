"""The parts of a model, found by looking at it and by watching it compute, never by a list of names."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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


_LENGTH = 5
_ENCODER_LENGTH = 7
"""Unlike `_LENGTH`, so that what a decoder reads from its encoder can be told from what it reads of itself."""


@dataclass(slots=True)
class Roles:
    """Full names of layers, by what they do."""

    keys_and_values: list[str] = field(default_factory=list)
    """Their output at one position is felt at others."""
    feed_forward_ends: list[str] = field(default_factory=list)
    """The last layer of each block's feed-forward."""


@dataclass(slots=True)
class _Watch:
    """One run of the network: what each layer was seen to give."""

    taps: dict[str, list[torch.Tensor]] = field(default_factory=dict)
    """For each call of a layer, zeros that were added to its output, by name in the order of the first call."""
    blocks: dict[str, torch.Tensor] = field(default_factory=dict)
    """What each block gave."""


def find_roles(network: Any) -> Roles:
    """Runs the network once on a few tokens and follows the gradient inside each block.

    A layer makes keys or values exactly if its output at one position changes what the block gives at another: queries,
    attention outputs and feed-forward layers act where they stand. Where one layer makes queries, keys and values
    together, it is that layer. The feed-forward ends with the last linear layer that the block calls; there is none
    where fewer than three follow the keys and values (one is the attention's output, another may choose experts).
    """
    watch = _watch(network)
    roles = Roles()
    is_decoder_of_encoder = bool(network.config.is_encoder_decoder)
    for block, output in watch.blocks.items():
        inside = [name for name in watch.taps if name.startswith(f"{block}.")]
        mixing = [name for name in inside if _is_felt_elsewhere(watch.taps[name], output, is_decoder_of_encoder)]
        roles.keys_and_values += mixing
        if mixing and len(inside) - 1 - inside.index(mixing[-1]) >= 3:
            roles.feed_forward_ends.append(inside[-1])
    return roles


def _is_felt_elsewhere(taps: list[torch.Tensor], output: torch.Tensor, reads_encoder: bool) -> bool:
    """Whether a layer's output at one position reaches the block's output at another, here: the last."""
    weights = torch.linspace(-1, 1, output.shape[-1], device=output.device, dtype=output.dtype)
    last = (output.reshape(-1, output.shape[-1])[-1] * weights).sum()
    positions = output.shape[-2]
    for tap, gradient in zip(taps, torch.autograd.grad(last, taps, retain_graph=True, allow_unused=True), strict=True):
        if gradient is None or tap.ndim < 2:
            continue
        if tap.shape[-2] == positions:
            elsewhere = gradient.reshape(positions, -1)[:-1]
        elif reads_encoder and tap.shape[-2] == _ENCODER_LENGTH:
            elsewhere = gradient
        else:
            continue
        if elsewhere.any():
            return True
    return False


def _watch(network: Any) -> _Watch:
    watch = _Watch()
    layers = dict(network.named_modules())
    blocks = [f"{name}.{index}" for name in block_lists(network) for index in range(len(layers[name]))]
    hooks = [layers[name].register_forward_hook(_tap(watch, name)) for name in linear_layers(network)]
    hooks += [layers[name].register_forward_hook(_keep(watch, name)) for name in blocks]
    was_training = network.training
    network.eval()
    try:
        with torch.enable_grad():
            network(**_inputs(network))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return watch


def _tap(watch: _Watch, name: str) -> Any:
    def add_zeros(module: Any, given: Any, output: torch.Tensor) -> torch.Tensor:
        zeros = torch.zeros_like(output, requires_grad=True)
        watch.taps.setdefault(name, []).append(zeros)
        return output + zeros

    return add_zeros


def _keep(watch: _Watch, name: str) -> Any:
    def keep(module: Any, given: Any, output: Any) -> None:
        watch.blocks[name] = output[0] if isinstance(output, tuple) else output

    return keep


def _inputs(network: Any) -> dict[str, Any]:
    """A few tokens, with an end where a head looks for one."""
    device = next(network.parameters()).device
    rows = network.get_input_embeddings().num_embeddings
    length = _ENCODER_LENGTH if network.config.is_encoder_decoder else _LENGTH
    ids = (torch.arange(length, device=device) * 7919 + 11).remainder(rows)[None]
    if network.config.is_encoder_decoder:
        return {"input_ids": ids, "decoder_input_ids": ids[:, :_LENGTH], "use_cache": False}
    return {"input_ids": ids}
