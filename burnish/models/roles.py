"""What the linear layers of a block do, found by watching the model compute: names differ from model to model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from burnish.models.blocks import block_lists, linear_layers

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
