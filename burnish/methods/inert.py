"""Whether an adapter does anything: base and tuned model read the same few tokens."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch

from burnish.models.device import PRECISIONS, arithmetic
from burnish.models.outputs import all_logits

_TOKENS = 8
"""Enough for attention to have something to look back at, and few enough to cost nothing."""


def same_answers(network: Any, off: AbstractContextManager[Any]) -> bool:
    """Whether base and tuned model give the same outputs, to the last bit.

    Args:
        network: with its adapter on.
        off: a context in which it is the base model.
    """
    was_training = network.training
    network.eval()
    try:
        tuned = _outputs(network)
        with off:
            base = _outputs(network)
    finally:
        network.train(was_training)
    return len(tuned) > 0 and all(mine.equal(other) for mine, other in zip(tuned, base, strict=True))


@torch.no_grad()
def _outputs(network: Any) -> list[torch.Tensor]:
    ids = _fixed_ids(network)
    inputs = {"input_ids": ids}
    if network.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    with arithmetic(network.device, _precision(network)):
        output = network(**inputs)
    return all_logits(output)


def _fixed_ids(network: Any) -> torch.Tensor:
    """`[1, tokens]` int64: tokens from all over the vocabulary, the last one among them, for added ones stand there.

    Tokens that mean something to the model itself, such as padding or a picture, are left out.
    """
    vocabulary = network.get_input_embeddings().weight.shape[0]
    config = network.config.to_dict()
    values = [value for part in (config, config.get("text_config") or {}) for value in part.items()]
    special = {value for name, value in values if name.endswith(("token_id", "token_index")) and type(value) is int}
    plain = [token for token in range(vocabulary) if token not in special]
    chosen = [plain[(len(plain) - 1) * number // (_TOKENS - 1)] for number in range(_TOKENS)]
    return torch.tensor([chosen], device=network.device)


def _precision(network: Any) -> str:
    """The arithmetic that its weights ask for: adapters are held in fp32, whatever the base is held in."""
    held = {weight.dtype for weight in network.parameters()}
    return next((name for name, dtype in PRECISIONS.items() if dtype in held and name != "fp32"), "fp32")
