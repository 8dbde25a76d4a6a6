"""Finds the parts of a model by its structure and by observing a forward pass, never by a list of names."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.pytorch_utils import Conv1D

LINEAR = (nn.Linear, Conv1D)


def block_lists(network: Any) -> list[str]:
    """Names of the module lists with the repeated blocks of a network.

    A block list is an `nn.ModuleList` of two or more modules of one class, or of one module if the network has no
    longer list, that is not inside another block list. Its modules may be of several classes if transformers takes each
    for a block, as in models that mix attention with a state space.
    """
    lists = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) > 0 and _are_blocks(module)
    }
    outer = [name for name in lists if not any(name.startswith(f"{other}.") for other in lists if other != name)]
    longest = max((len(lists[name]) for name in outer), default=0)
    return [name for name in outer if len(lists[name]) > 1 or longest == 1]


def _are_blocks(modules: nn.ModuleList) -> bool:
    alike = len({type(module) for module in modules}) == 1
    return alike or all(isinstance(module, GradientCheckpointingLayer) for module in modules)


def modules_after(network: Any, blocks: str) -> list[str]:
    """Names of the modules between a block list and the output: the last norm, the pooler, the head.

    They are registered after it, at any level above. A last norm may instead be registered before the blocks, at the
    same level; then nothing is registered after the blocks, and it has only vectors.
    """
    found, path = [], blocks
    while path:
        parent, _, last = path.rpartition(".")
        siblings = [(name, module) for name, module in network.get_submodule(parent).named_children()]
        position = [name for name, _ in siblings].index(last)
        later = siblings[position + 1 :]
        after = [name for name, module in later if not isinstance(module, nn.Embedding) and list(module.parameters())]
        if path == blocks and not after:
            after = [name for name, module in siblings[:position] if _has_only_vectors(module)]
        found += [f"{parent}.{name}" if parent else name for name in after]
        path = parent
    return found


def _has_only_vectors(module: nn.Module) -> bool:
    dimensions = {parameter.ndim for parameter in module.parameters()}
    return dimensions == {1}


def linear_layers(network: Any) -> list[str]:
    """Full names of all linear layers inside the blocks: attention and feed-forward, never heads or embeddings."""
    blocks = block_lists(network)
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, LINEAR) and any(name.startswith(f"{block}.") for block in blocks) and _multiplies(module)
    ]


def _multiplies(layer: Any) -> bool:
    """Whether a layer's output is one product with its matrix: some classes compute more, such as a choice of experts.

    Quantized layers are such products by another forward of their own.
    """
    is_own = isinstance(layer, nn.Linear) and type(layer).forward is not nn.Linear.forward
    if not is_own or not layer.weight.is_floating_point():
        return True
    try:
        with torch.no_grad():
            output = layer(layer.weight.new_zeros(1, layer.in_features))
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
        return False
    return isinstance(output, torch.Tensor) and output.shape == (1, layer.out_features)


def routers(network: Any) -> list[str]:
    """Full names of the linear layers that choose among experts: one output for each, beside the experts themselves."""
    layers = linear_layers(network)
    if not layers:
        return []
    text = network.config.get_text_config()
    numbers = {value for name, value in vars(text).items() if "expert" in name and type(value) is int and value > 1}
    modules = dict(network.named_modules())
    having = {
        parent
        for name, module in modules.items()
        for parent, _, last in [name.rpartition(".")]
        if "expert" in last or "Expert" in type(module).__name__
    }
    found = []
    for name in layers:
        owner = max((one for one in having if name.startswith(f"{one}.")), key=len, default=None)
        if owner is None or getattr(modules[name], "out_features", 0) not in numbers:
            continue
        inner = name.removeprefix(f"{owner}.")
        if "expert" not in inner and not inner.partition(".")[0].isdigit():
            found.append(name)
    return found


_READ = re.compile(r"\bself\.(\w+)\.weight\b(?!\.(?:dtype|device|shape|size|ndim)\b)")
_CALLED = re.compile(r"\bself\.(\w+)\(")


def read_in_place(network: Any) -> dict[str, bool]:
    """The linear layers of state spaces whose weight the code around them reads, so that an adapter has no effect.

    Their fused kernels take matrices; a state space is a module with a parameter `A_log`.

    Returns:
        By full name, whether that code also calls the layer, as it may on another device.
    """
    found = {}
    modules = dict(network.named_modules())
    for name in linear_layers(network):
        parent, _, last = name.rpartition(".")
        if "A_log" in modules[parent]._parameters and last in _own_reads(type(modules[parent])):
            found[name] = _own_reads(type(modules[parent]))[last]
    return found


@functools.cache
def _own_reads(kind: type[nn.Module]) -> dict[str, bool]:
    """Attributes of a class whose weight its code reads, and whether it also calls them; none without its source."""
    try:
        source = inspect.getsource(kind)
    except (OSError, TypeError):
        return {}
    called = set(_CALLED.findall(source))
    return {name: name in called for name in _READ.findall(source)}


BLOCK = "*"
"""In the name of a layer, the number of any block."""


def is_ending(name: str, ending: str) -> bool:
    """Whether `ending` is a dotted name or its last parts, with `*` for any number."""
    parts, wanted = name.split("."), ending.split(".")
    return len(parts) >= len(wanted) and all(
        part == one or (one == BLOCK and part.isdigit())
        for part, one in zip(parts[len(parts) - len(wanted) :], wanted, strict=True)
    )


def names_block(endings: Iterable[str]) -> bool:
    """Whether any of these names is that of a layer in one block alone."""
    return any(part.isdigit() for ending in endings for part in ending.split("."))


def short_names(network: Any, chosen: list[str]) -> list[str]:
    """The shortest dotted endings that match exactly `chosen` among all modules, sorted.

    An adapter config is then `["down_proj", "q_proj"]` rather than a name per layer. If an ending would also match a
    module outside of `chosen`, more of the path is kept, with `*` for the number of a block if the layers of all
    blocks are chosen.
    """
    names = [name for name, _ in network.named_modules()]
    wanted, endings = set(chosen), set()
    by_last: dict[str, list[str]] = {}
    for name in names:
        by_last.setdefault(name.rpartition(".")[2], []).append(name)
    for name in chosen:
        if any(is_ending(name, ending) for ending in endings):
            continue
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            kept = parts[-length:]
            tried = dict.fromkeys((".".join(BLOCK if part.isdigit() else part for part in kept), ".".join(kept)))
            alike = names if parts[-1].isdigit() else by_last[parts[-1]]
            exact = next((e for e in tried if {other for other in alike if is_ending(other, e)} <= wanted), None)
            if exact is not None:
                endings.add(exact)
                break
    return sorted(endings)


def spelled_out(network: Any, endings: Iterable[str]) -> list[str]:
    """The endings as PEFT takes them: one with `*` is replaced by the full names of the modules that it matches."""
    names = [name for name, _ in network.named_modules()]
    found = []
    for ending in endings:
        has_star = BLOCK in ending.split(".")
        found += [name for name in names if is_ending(name, ending)] if has_star else [ending]
    return sorted(found)


def memory_bytes(network: Any) -> int:
    """Bytes of the weights and buffers of a network; tied ones count once, quantized ones as stored.

    bitsandbytes stores scales and code tables outside of `parameters()`; each is counted once, even if several layers
    share it.
    """
    tensors = held_tensors(network)
    sizes = {tensor.data_ptr() or id(tensor): tensor.numel() * tensor.element_size() for tensor in tensors}
    return sum(sizes.values())


def held_tensors(network: Any) -> list[torch.Tensor]:
    """All tensors of a network: weights, buffers, and tables of quantized weights; shared ones are repeated."""
    return [*network.parameters(), *network.buffers(), *_quantization_tables(network)]


def _quantization_tables(network: Any) -> Iterator[torch.Tensor]:
    """Scales, scales of scales, offsets and code tables of quantized weights."""
    for module in network.modules():
        weight = module._parameters.get("weight")  # not `module.weight`, which may be a property that computes one
        outer = getattr(weight, "quant_state", None)  # 4 bits
        eight_bits = (weight, getattr(module, "state", None))
        for state in (*eight_bits, outer, getattr(outer, "state2", None)):
            values = (getattr(state, name, None) for name in ("SCB", "absmax", "code", "offset"))
            yield from (value for value in values if isinstance(value, torch.Tensor))


def count_parameters(network: Any) -> tuple[int, int]:
    """Trainable parameters and all parameters; tied ones count once, 4-bit ones as unpacked."""
    parameters = list(network.parameters())
    trainable = sum(p.numel() for p in parameters if p.requires_grad)
    return trainable, sum(math.prod(_full_shape(p)) for p in parameters)


def _full_shape(parameter: torch.nn.Parameter) -> Sequence[int]:
    """The shape of a weight; for a packed 4-bit weight, its unpacked shape."""
    state = getattr(parameter, "quant_state", None)
    return parameter.shape if state is None else state.shape


_LENGTH = 5
_ENCODER_LENGTH = 7
"""Different from `_LENGTH`, to distinguish a decoder's cross-attention from its self-attention."""


@dataclass(slots=True)
class Roles:
    """Full names of layers by their role."""

    keys_and_values: list[str] = field(default_factory=list)
    """Layers that produce keys or values."""
    feed_forward_ends: list[str] = field(default_factory=list)
    """The last layer of each block's feed-forward."""


@dataclass(slots=True)
class _Watch:
    """Observations of one forward pass."""

    taps: dict[str, list[torch.Tensor]] = field(default_factory=dict)
    """For each call of a layer, the zeros that were added to its output; by name, in order of the first call."""
    blocks: dict[str, torch.Tensor] = field(default_factory=dict)
    """The output of each block."""


def find_roles(network: Any) -> Roles:
    """Runs the network once on a few tokens and follows the gradients inside each block.

    A layer produces keys or values exactly if its output at one position changes the block's output at another:
    queries, attention outputs and feed-forward layers act only at their own position. If one layer produces queries,
    keys and values together, it is that layer. The feed-forward ends with the last linear layer that the block calls;
    there is none if fewer than three layers follow the keys and values (one is the attention output, another may route
    to experts).
    """
    watch = _watch(network)
    roles = Roles()
    is_decoder_of_encoder = bool(network.config.is_encoder_decoder)
    for block, output in watch.blocks.items():
        inside = [name for name in watch.taps if name.startswith(f"{block}.")]
        mixing = [name for name in inside if _affects_other_positions(watch.taps[name], output, is_decoder_of_encoder)]
        roles.keys_and_values += mixing
        if mixing and len(inside) - 1 - inside.index(mixing[-1]) >= 3:
            roles.feed_forward_ends.append(inside[-1])
    return roles


def _affects_other_positions(taps: list[torch.Tensor], output: torch.Tensor, reads_encoder: bool) -> bool:
    """Whether a layer's output at some position affects the block's output at another, the last one."""
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
    hooks += [layers[name].register_forward_pre_hook(_forget(watch, name)) for name in blocks]
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


def _forget(watch: _Watch, name: str) -> Any:
    def forget(module: Any, given: Any) -> None:
        # where blocks share their weights, what one call did to other positions reaches the output of the next
        for layer, taps in watch.taps.items():
            if layer.startswith(f"{name}."):
                taps.clear()

    return forget


def _keep(watch: _Watch, name: str) -> Any:
    def keep(module: Any, given: Any, output: Any) -> None:
        watch.blocks[name] = output[0] if isinstance(output, tuple) else output

    return keep


def _inputs(network: Any) -> dict[str, Any]:
    """Inputs of a few tokens."""
    device = next(network.parameters()).device
    rows = network.get_input_embeddings().num_embeddings
    length = _ENCODER_LENGTH if network.config.is_encoder_decoder else _LENGTH
    ids = (torch.arange(length, device=device) * 7919 + 11).remainder(rows)[None]
    if network.config.is_encoder_decoder:
        return {"input_ids": ids, "decoder_input_ids": ids[:, :_LENGTH], "use_cache": False}
    return {"input_ids": ids}
