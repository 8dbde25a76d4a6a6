"""Tests on a model itself whether it separates several examples or answers in one row."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch

from burnish.kernels.attention import NAME
from burnish.kernels.varlen_attention import VARLEN

_KNOWN: dict[Hashable, bool] = {}
"""What was found out in this process."""


def separates_packed(network: Any, identity: Hashable = None) -> bool:
    """Whether a network keeps packed examples apart.

    Args:
        network: without packed rows, in any mode.
        identity: equal for networks with the same weights and arithmetic, of which one is tried out in a process; None
            to try this one.
    """
    if identity is None:
        return _tries_packing(network)
    if identity not in _KNOWN:
        _KNOWN[identity] = _tries_packing(network)
    return _KNOWN[identity]


@torch.no_grad()
def _tries_packing(network: Any) -> bool:
    """Compares a short packed row with the same two examples run separately, and run together as one text.

    Packing is exact if the first difference is only rounding compared with the second. The result is False for models
    that do not take `position_ids`, or detect boundaries in another way; they are trained on padded rows.
    """
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    vocabulary = network.get_input_embeddings().weight.shape[0]
    ids = (torch.arange(19, device=device) * 7919 + 11).remainder(vocabulary)[None]
    positions = torch.cat([torch.arange(8), torch.arange(11)]).to(device)[None]
    try:
        alone = torch.cat([_logits(network, ids[:, :8]), _logits(network, ids[:, 8:])], dim=1)
        packed = _logits(network, ids, position_ids=positions)
        together = _logits(network, ids)
    except TypeError:  # the model does not take position_ids
        return False
    finally:
        network.train(was_training)
    mixing = (together - alone).abs().max()
    return bool((packed - alone).abs().max() <= 0.05 * mixing + 1e-6)


def _logits(network: Any, ids: torch.Tensor, **extra: torch.Tensor) -> torch.Tensor:
    return network(input_ids=ids, use_cache=False, **extra).logits.float()


def row_inputs(
    network: Any, input_ids: torch.Tensor, position_ids: torch.Tensor | None, segments: torch.Tensor | None
) -> dict[str, torch.Tensor]:
    """The keyword arguments of a network for rows of prompts and answers.

    Args:
        network: a causal language model.
        input_ids: `[rows, width]`.
        position_ids: `[rows, width]`, or None for rows of one answer, for which the causal mask is enough.
        segments: `[rows, width]`, 0 in the prompt and the number of the answer elsewhere, or None.
    """
    if position_ids is None or segments is None:
        return {"input_ids": input_ids}
    mask = sharing_mask(segments)
    if network.config.get_text_config()._attn_implementation not in ("sdpa", NAME, VARLEN):
        # Eager attention adds the mask to its scores; -65504 fits every float dtype and gives a weight of 0.
        mask = torch.zeros(mask.shape, dtype=network.dtype, device=mask.device).masked_fill(~mask, -65504.0)
    return {"input_ids": input_ids, "position_ids": position_ids, "attention_mask": mask}


def run_rows(
    network: Any, input_ids: torch.Tensor, position_ids: torch.Tensor | None, segments: torch.Tensor | None
) -> torch.Tensor:
    """`[rows, width, vocab]`: the logits of rows of prompts and answers; arguments as for `row_inputs`."""
    return network(**row_inputs(network, input_ids, position_ids, segments), use_cache=False).logits


def sharing_mask(segments: torch.Tensor) -> torch.Tensor:
    """`[rows, 1, width, width]` bool: a token attends, up to itself, to the prompt and its own answer.

    Args:
        segments: `[rows, width]`, 0 in the prompt and the number of the answer elsewhere.
    """
    width = segments.shape[1]
    earlier = torch.ones(width, width, dtype=torch.bool, device=segments.device).tril()
    seen, seeing = segments[:, None, :], segments[:, :, None]
    return (((seen == 0) | (seen == seeing)) & earlier)[:, None]


@torch.no_grad()
def separates_answers(network: Any, context: int) -> bool:
    """Compares a short row of a prompt and two answers with the two answers run separately, each after the prompt.

    Sharing is exact if the difference is only rounding compared with the effect that the first answer would have on the
    second if it were visible. Models with a sliding window shorter than `context` give False, because the mask does not
    include the window.
    """
    window = getattr(network.config.get_text_config(), "sliding_window", None)
    if isinstance(window, int) and window < context:
        return False
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    vocabulary = network.get_input_embeddings().weight.shape[0]
    ids = (torch.arange(24, device=device) * 7919 + 11).remainder(vocabulary)[None]
    segments = torch.tensor([[0] * 7 + [1] * 8 + [2] * 9], device=device)
    positions = torch.tensor([[*range(15), *range(7, 16)]], device=device)
    second = torch.cat([ids[:, :7], ids[:, 15:]], dim=1)
    try:
        alone = torch.cat([run_rows(network, ids[:, :15], None, None), run_rows(network, second, None, None)[:, 7:]], 1)
        shared = run_rows(network, ids, positions, segments)
        mixed = run_rows(network, ids, None, None)
    except (TypeError, ValueError, RuntimeError, IndexError, AttributeError):  # positions or mask not supported
        return False
    finally:
        network.train(was_training)
    if shared.shape != alone.shape:
        return False
    mixing = (mixed - alone)[:, 15:].abs().max()
    return bool((shared - alone).abs().max() <= 0.05 * mixing + 1e-6)
