"""Attention of one new token per row, or of a few, to all tokens before, as two batched products.

The heads that share keys and values are the rows of one product, so keys and values are read once and never repeated.
PyTorch's own kernel for the CPU works on blocks of many queries: with one query per row it takes up to ten times as
long (`bench/answering.py`).
"""

from __future__ import annotations

import torch

FEW = 16
"""Most new tokens per row: PyTorch's blocks of queries pay for more."""


def few_tokens_attention_reference(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, hidden: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """`few_tokens_attention` as PyTorch has it."""
    heads = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(heads, 1) for part in (key, value))
    mask = None if hidden is None else ~hidden
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)


def few_tokens_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, hidden: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """Softmax attention; the softmax is in fp32.

    Args:
        query: `[rows, heads, new, size]`.
        key: `[rows, key heads, tokens, size]`; a divisor of the heads, of which as many share a key in their order.
        value: the same, perhaps of another size. Hidden values have to be finite.
        hidden: bool, true where a token is not attended to, broadcast to `[rows, 1, new, tokens]`; None for nowhere.
        scale: of the products.

    Returns:
        `[rows, heads, new, value size]` in the dtype of the values.
    """
    rows, heads, new, size = query.shape
    shared, tokens = key.shape[1], key.shape[2]
    grouped = query.reshape(rows * shared, heads // shared * new, size)
    scores = torch.bmm(grouped, key.reshape(rows * shared, tokens, size).transpose(1, 2)).float().mul_(scale)
    if hidden is not None:
        scores.view(rows, heads, new, tokens).masked_fill_(hidden, float("-inf"))
    shares = scores.softmax(-1).to(value.dtype)
    found = torch.bmm(shares, value.reshape(rows * shared, tokens, value.shape[3]))
    return found.view(rows, heads, new, value.shape[3])
