"""Faster arithmetic for networks that only answer, on the CPU: one new token per row and step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from burnish.models.answering_blocks import join_blocks
from burnish.models.answering_layers import join_layers
from burnish.models.attention import NAMES, register
from burnish.models.device import PRECISIONS, arithmetic
from burnish.models.growing_cache import GrowingCache
from burnish.models.packed_linear import Packing, can_pack, plain_layers
from burnish.system.inventory import free_memory
from burnish.system.machine import this_machine

_MOST_OF_FREE = 0.5
"""Of the free memory, that weights may take to be packed: until the network was tried, both forms are held."""
_ROWS, _TOKENS = 8, 9
_TOLERANCES = {"fp32": 1e-4, "bf16": 0.05, "fp16": 0.05}
"""How far the logits of the trial may be from those before, as a share of their size; in 16 bits for half of the
tokens, because rounding alone can change those of a few by as much as they are large. It shows what is wrong, such as a
layer whose weights something else reads; how exact products are is tried one by one."""
_FAILURES = (TypeError, ValueError, RuntimeError, IndexError, AttributeError, KeyError)


def arrange_for_answers(network: Any, precision: str) -> None:
    """Prepares a loaded network that will not be trained, saved or merged any more. May be called again, after an
    adapter was added.

    Args:
        network: a transformers or PEFT model in evaluation mode.
        precision: of its arithmetic.
    """
    plain = network.get_base_model() if hasattr(network, "get_base_model") else network
    if network.device.type != "cpu" or plain.config.is_encoder_decoder:
        return
    before = _logits(network, precision)
    if before is None:
        return
    tolerance = _TOLERANCES[precision]

    def is_right() -> bool:
        after = _logits(network, precision)
        return after is not None and all(map(is_near, after, before))

    def is_near(one: torch.Tensor, other: torch.Tensor) -> bool:
        distances = (one - other).norm(dim=-1) / other.norm(dim=-1)
        return bool((distances.max() if precision == "fp32" else distances.median()) <= tolerance)

    if getattr(plain.config.get_text_config(), "_attn_implementation", None) == "sdpa":
        register()
        plain.set_attn_implementation(NAMES["cpu"])
        if not is_right():
            plain.set_attn_implementation("sdpa")
    layers = list(plain_layers(network))
    room = _MOST_OF_FREE * (free_memory(this_machine().memory_bytes) or 0)
    if can_pack(PRECISIONS[precision]) and sum(layer.weight.nbytes for layer in layers) <= room:
        _pack(network, PRECISIONS[precision], is_right)


@torch.no_grad()
def _pack(network: Any, dtype: torch.dtype, is_right: Callable[[], bool]) -> None:
    """Packs what the network gives the same with: blocks and layers joined, else layers, else layers alone, else
    nothing."""
    for joins_blocks, joins_layers in ((True, True), (False, True), (False, False)):
        packing = Packing(dtype)
        if joins_layers:
            join_layers(network, packing)
        for layer in plain_layers(network):
            packing.pack([layer])
        if joins_blocks:
            join_blocks(network, packing)
        if packing.is_empty or is_right():
            packing.settle()
            return
        packing.undo()


@torch.no_grad()
def _logits(network: Any, precision: str) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Those of random rows, fp32 `[rows, tokens, vocabulary]`: of the first tokens, and of the last, which sees the
    others in a cache; None if it does not run on token ids alone, or not on these."""
    words = network.config.get_text_config().vocab_size
    ids = torch.randint(words, (_ROWS, _TOKENS), generator=torch.Generator().manual_seed(0)).to(network.device)
    try:
        with arithmetic(network.device, precision):
            first = network(input_ids=ids[:, :-1], past_key_values=GrowingCache(), use_cache=True)
            last = network(input_ids=ids[:, -1:], past_key_values=first.past_key_values, use_cache=True)
    except _FAILURES:
        return None
    found = first.logits.float(), last.logits.float()
    return found if all(bool(logits.isfinite().all()) for logits in found) else None
