"""Attention of one new token per row to all tokens before it, as two batched products.

The heads that share keys and values are the rows of one product, so keys and values are read once and never repeated.
PyTorch's own kernel for the CPU works on blocks of many queries: with one query per row it takes up to ten times as
long (`bench/answering.py`).
"""

from __future__ import annotations

import torch


def one_token_attention_reference(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """`one_token_attention` as PyTorch has it."""
    heads = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(heads, 1) for part in (key, value))
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)


def one_token_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """Softmax attention; the softmax is in fp32.

    Args:
        query: `[rows, heads, 1, size]`.
        key: `[rows, key heads, tokens, size]`; a divisor of the heads, of which as many share a key in their order.
        value: the same, perhaps of another size.
        mask: bool, true where a token is attended to, broadcast to `[rows, 1, 1, tokens]`; None for all.
        scale: of the products.

    Returns:
        `[rows, heads, 1, value size]` in the dtype of the values.
    """
    rows, heads, _, size = query.shape
    shared, tokens = key.shape[1], key.shape[2]
    grouped = query.reshape(rows * shared, heads // shared, size)
    scores = torch.bmm(grouped, key.reshape(rows * shared, tokens, size).transpose(1, 2)).float().mul_(scale)
    if mask is not None:
        hidden = ~mask.expand(rows, 1, 1, tokens)
        scores.view(rows, heads, 1, tokens).masked_fill_(hidden, float("-inf"))
    shares = scores.softmax(-1).to(value.dtype)
    found = torch.bmm(shares, value.reshape(rows * shared, tokens, value.shape[3]))
    return found.view(rows, heads, 1, value.shape[3])
