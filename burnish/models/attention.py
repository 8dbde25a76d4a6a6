"""Registers Burnish's attention in transformers, under one name for the CPU and one for CUDA.

The mask of packed rows comes from transformers: its mask function, evaluated only on neighboring tokens, gives the
boundaries of examples, which replace a `[width, width]` mask. Anything other than causal attention within such examples
(windows, caches, other masks) uses the mask and the computation of transformers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from burnish.kernels.attention import NAME, SHORT, SHORT_HALF, short_attention
from burnish.kernels.few_tokens_attention import Hidden, are_few, few_tokens_attention
from burnish.kernels.packed_attention import packed_attention
from burnish.kernels.precision import arithmetic_type
from burnish.kernels.segments import Segments
from burnish.kernels.varlen_attention import VARLEN, varlen_attention
from burnish.models.growing_cache import Room

NAMES = {"cpu": NAME, "cuda": VARLEN}
"""Names of the registered attention by device type."""
_UNSUPPORTED = ("softcap", "position_bias", "cache", "s_aux", "output_attentions")
"""Arguments that change the result; with any of them transformers' own attention is used."""


def register() -> None:
    """Registers the names for `network.set_attn_implementation(name)`."""
    for name, function, mask in ((NAME, attend, make_mask), (VARLEN, attend_varlen, make_varlen_mask)):
        AttentionInterface.register(name, function)
        AttentionMaskInterface.register(name, mask)


def make_mask(*, mask_function: Any, attention_mask: torch.Tensor | None = None, **asked: Any) -> Any:
    """Segments if the mask is that of packed examples, else the mask of transformers' own attention.

    Args:
        mask_function: maps indices of row, head, query token and key token to whether the token may be attended to.
        attention_mask: `[rows, width]` padding mask, or None.
        asked: further arguments of transformers: sizes, device, dtype and options.
    """
    short = _short(asked.get("dtype", torch.float32), torch.device(asked["device"]))
    return _make_mask(mask_function, attention_mask, short, asked)


def make_varlen_mask(*, mask_function: Any, attention_mask: torch.Tensor | None = None, **asked: Any) -> Any:
    """Like `make_mask`, but without batching short examples: the CUDA kernels process each in place."""
    return _make_mask(mask_function, attention_mask, 0, asked)


def _make_mask(mask_function: Any, attention_mask: torch.Tensor | None, short: int, asked: dict[str, Any]) -> Any:
    rows, width, device = asked["batch_size"], asked["q_length"], torch.device(asked["device"])
    is_special = asked.get("allow_is_causal_skip", True) or asked.get("use_vmap", False)
    if attention_mask is None and width == asked["kv_length"] and not is_special:
        borders = _borders(mask_function, rows, width, device)
        if borders is not None:
            return Segments(borders, device, short)
    return sdpa_mask(mask_function=mask_function, attention_mask=attention_mask, **asked)


def _short(dtype: torch.dtype, device: torch.device) -> int:
    """Longest short sequence in the current compute dtype."""
    return SHORT if arithmetic_type(torch.empty(0, dtype=dtype, device=device)) == torch.float32 else SHORT_HALF


def _borders(mask_function: Any, rows: int, width: int, device: torch.device) -> list[tuple[int, int]] | None:
    """(begin, end) of the examples in all rows, counted over all rows; None if the mask is of another kind."""
    row = torch.arange(rows, device=device)[:, None].expand(rows, width)
    place = torch.arange(width, device=device).expand(rows, width)
    head = torch.zeros((), dtype=torch.int64, device=device)

    def sees(other: torch.Tensor) -> torch.Tensor:
        return mask_function(row, head, place, other).expand(rows, width)

    begins = ~sees((place - 1).clamp(min=0))
    begins[:, 0] = True
    first = torch.where(begins, place, 0).cummax(1).values
    is_other = sees((place + 1).clamp(max=width - 1))[:, :-1].any() | ~sees(first).all() | ~sees(place).all()
    result = torch.cat([is_other[None], begins.flatten()]).cpu()  # one transfer, to synchronize with the GPU only once
    if result[0]:
        return None
    starts = result[1:].nonzero()[:, 0].tolist()
    return list(zip(starts, [*starts[1:], rows * width], strict=True))


def _is_plain(key: torch.Tensor, value: torch.Tensor, others: dict[str, Any]) -> bool:
    """Whether no argument other than dropout changes the result."""
    given = (others.get(name) for name in _UNSUPPORTED)
    return key.shape == value.shape and all(one is None or one is False for one in given)


def _are_few(query: torch.Tensor, mask: torch.Tensor | None) -> bool:
    """Whether these are few new tokens per row: one, or several in an answer, whose mask says what each attends to."""
    rows, heads, new = query.shape[:3]
    if mask is None or torch.is_grad_enabled():
        return new == 1
    return are_few(rows, heads, new, mask.shape[-1])


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attention with the signature of transformers' attention functions.

    Args:
        module: the layer; its `is_causal` is used if the argument is None.
        query: `[rows, heads, width, size]`.
        key: `[rows, key heads, width, size]`.
        value: same shape as `key`.
        attention_mask: `Segments`, a mask `[rows, 1, width, width]`, or None.
        dropout: dropout of the probabilities.
        scaling: factor of the scores; None for 1 / sqrt(size).
        is_causal: whether a token attends only to earlier ones, if there is no mask.
        others: further arguments of the model; with `room`, the keys and values together with the room of their cache.

    Returns:
        `[rows, width, heads, size]`, and None for the probabilities.
    """
    is_plain = _is_plain(key, value, others)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if isinstance(attention_mask, Segments):
        if is_plain:
            return packed_attention(query, key, value, scale, attention_mask, dropout).transpose(1, 2), None
        attention_mask = attention_mask.dense(query.shape[0])
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    is_simple = is_plain and (attention_mask is None or attention_mask.dtype == torch.bool)
    if is_simple and 1 < query.shape[2] == key.shape[2] <= _short(query.dtype, query.device):
        looks_back = causal and attention_mask is None
        made = short_attention(query, key, value, scale, looks_back, attention_mask, dropout)
        return made.transpose(1, 2).contiguous(), None
    if is_simple and _are_few(query, attention_mask) and dropout == 0 and query.device.type == "cpu":
        hidden = None if attention_mask is None else Hidden(~attention_mask)
        room: Room | None = others.get("room")
        few = (key, value, hidden) if room is None else (room.keys, room.values, room.hidden)
        return few_tokens_attention(query, *few, scale).transpose(1, 2).contiguous(), None
    return sdpa_attention_forward(
        module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, is_causal=is_causal, **others
    )


def attend_varlen(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attention on CUDA: transformers' own except for packed rows; arguments and result as for `attend`."""
    if isinstance(attention_mask, Segments):
        if not dropout and _is_plain(key, value, others):
            scale = query.shape[-1] ** -0.5 if scaling is None else scaling
            return varlen_attention(query, key, value, scale, attention_mask).transpose(1, 2), None
        attention_mask = attention_mask.dense(query.shape[0])
    return sdpa_attention_forward(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others)
