"""One output for each row, from models that were made for it and from decoders."""

from __future__ import annotations

from typing import Any

import torch

_DECODER_HEAD = "score"
"""What transformers calls the linear head of every decoder for sequence classification."""


def row_logits(network: Any, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """`[rows, outputs]`: what a network with a head for whole texts makes of each row.

    A decoder's head looks at every token, and the last one counts, for it alone has seen all. Which one that is, is
    read from the attention mask and not, as transformers does, from the ids: a text may hold the padding token, and
    methods with virtual tokens pass no ids at all.

    Args:
        network: a transformers model for sequence classification, or the same within a PEFT model.
        inputs: `input_ids` and `attention_mask`, `[rows, width]`, padded at the end; `token_type_ids` are passed on
            only to models that know more than one type of token.
    """
    if getattr(network.config, "type_vocab_size", None) in (None, 0, 1):
        inputs = {name: tensor for name, tensor in inputs.items() if name != "token_type_ids"}
    head = next((module for name, module in network.named_modules() if name.split(".")[-1] == _DECODER_HEAD), None)
    if head is None:
        return network(**inputs).logits
    seen: list[torch.Tensor] = []
    handle = head.register_forward_hook(lambda module, given, output: seen.append(output))
    try:
        network(**inputs, use_cache=False)
    finally:
        handle.remove()
    mask = inputs["attention_mask"]
    virtual = seen[0].shape[1] - mask.shape[1]  # tokens that the method put in front
    last = virtual + mask.sum(-1) - 1
    return seen[0][torch.arange(len(last), device=last.device), last]
