"""Whether a model keeps packed examples apart. Measured on the model itself, not looked up."""

from __future__ import annotations

from typing import Any

import torch


@torch.no_grad()
def keeps_packed_apart(network: Any) -> bool:
    """Compares a short packed row with the same two examples run alone, and with the two run together as one text.

    Packing is exact when the first difference is rounding next to the second. Models that take no `position_ids`, or
    read borders some other way, answer False and are trained on padded rows.
    """
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    vocabulary = network.get_input_embeddings().num_embeddings
    ids = (torch.arange(19, device=device) * 7919 + 11).remainder(vocabulary)[None]
    positions = torch.cat([torch.arange(8), torch.arange(11)]).to(device)[None]
    try:
        alone = torch.cat([_logits(network, ids[:, :8]), _logits(network, ids[:, 8:])], dim=1)
        packed = _logits(network, ids, position_ids=positions)
        together = _logits(network, ids)
    except TypeError:  # the model takes no position_ids
        return False
    finally:
        network.train(was_training)
    mixing = (together - alone).abs().max()
    return bool((packed - alone).abs().max() <= 0.05 * mixing + 1e-6)


def _logits(network: Any, ids: torch.Tensor, **extra: torch.Tensor) -> torch.Tensor:
    return network(input_ids=ids, use_cache=False, **extra).logits.float()
