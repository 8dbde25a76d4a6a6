"""The two halves of a causal language model: what makes hidden states, and the layer that makes logits of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from burnish.kernels.head_loss import head_losses
from burnish.kernels.loss import token_losses

WHOLE = "This model does more to its hidden states than one output layer, so all logits are made for the loss."


def losses_at(
    network: Any, inputs: dict[str, Any], places: torch.Tensor, targets: torch.Tensor, in_halves: bool
) -> torch.Tensor:
    """`[tokens]` fp32: negative log-likelihood of chosen tokens, in nats.

    Args:
        network: a causal language model, with or without an adapter.
        inputs: what it is called with.
        places: `[tokens]` int64, the position that predicts each, as an index into rows x width.
        targets: `[tokens]` int64.
        in_halves: whether `computes_in_halves` said yes; else all logits are made.
    """
    halves = split_model(network) if in_halves else None
    if halves is None:
        return token_losses(network(**inputs, use_cache=False).logits.flatten(0, 1)[places], targets)
    body, head = halves
    hidden = body(**inputs, use_cache=False).last_hidden_state
    return head_losses(hidden.flatten(0, 1).index_select(0, places), head.weight, head.bias, targets)


def split_model(network: Any) -> tuple[Any, nn.Linear] | None:
    """Body and output layer; None where the layer is none of its own, or is wrapped in something that trains it."""
    config = getattr(network, "active_peft_config", None)
    if config is not None:
        if config.is_prompt_learning:
            return None  # its virtual tokens are put before the inputs by PEFT's own forward pass
        network = network.get_base_model()
    head, body = network.get_output_embeddings(), network.base_model
    if body is network or type(head) is not nn.Linear:
        return None
    return body, head


@torch.no_grad()
def computes_in_halves(network: Any) -> bool:
    """Whether the two halves, one after the other, give the very logits of the whole model.

    Models that scale or bend their logits, or feed something else into the output layer, answer False.
    """
    halves = split_model(network)
    if halves is None:
        return False
    was_training = network.training
    network.eval()
    vocabulary = network.get_input_embeddings().num_embeddings
    ids = (torch.arange(21, device=network.device) * 7919 + 11).remainder(vocabulary)[None]
    try:
        whole = network(input_ids=ids, use_cache=False).logits
        apart = halves[1](halves[0](input_ids=ids, use_cache=False).last_hidden_state)
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):
        return False
    finally:
        network.train(was_training)
    return torch.equal(whole, apart)
