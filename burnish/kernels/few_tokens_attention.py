"""Attention of one new token per row, or of a few, to all tokens before, as two batched products.

The heads that share keys and values are the rows of one product, so keys and values are read once and never repeated.
PyTorch's own kernel for the CPU works on blocks of many queries: with one query per row it takes up to ten times as
long (`bench/answering.py`).
"""

from __future__ import annotations

import torch

_NEW, _SCORES = 64, 1 << 22
"""Most new tokens per row, and most scores of all heads and rows: PyTorch's kernel holds none, which pays for more."""


def are_few(rows: int, heads: int, new: int, tokens: int) -> bool:
    """Whether this is faster than PyTorch's kernel.

    Args:
        rows: of the batch.
        heads: of the queries.
        new: tokens per row.
        tokens: that these may attend to.
    """
    return new == 1 or (new <= _NEW and rows * heads * new * tokens <= _SCORES)


def few_tokens_attention_reference(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, scale: float
) -> torch.Tensor:
    """`few_tokens_attention` as PyTorch has it; the mask is true where a token is attended to."""
    heads = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(heads, 1) for part in (key, value))
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)


class Hidden:
    """Tokens that are not attended to, and the same as numbers to add to scores, made once for all layers of a step.

    Args:
        mask: bool, true where a token is not attended to, broadcast to `[rows, 1, new, tokens]`.
    """

    def __init__(self, mask: torch.Tensor) -> None:
        self.mask = mask
        self._added: tuple[object, torch.Tensor] | None = None

    def added(self, rows: int, shared: int, heads: int, new: int, dtype: torch.dtype) -> torch.Tensor:
        """`[rows * key heads, heads that share one * new, tokens]`, 0 or minus infinity; the second size may be 1."""
        key = (rows, shared, heads, new, dtype)
        if self._added is None or self._added[0] != key:
            tokens = self.mask.shape[-1]
            added = torch.zeros(self.mask.shape, dtype=dtype, device=self.mask.device)
            added = added.masked_fill_(self.mask, float("-inf"))[:, :, None]
            group = 1 if self.mask.shape[-2] == 1 else heads // shared
            added = added.expand(rows, shared, group, -1, tokens).reshape(rows * shared, -1, tokens)
            self._added = key, added
        return self._added[1]


def few_tokens_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, hidden: Hidden | None, scale: float
) -> torch.Tensor:
    """Softmax attention. The softmax computes in fp32, from scores and to shares in the dtype of the queries.

    Args:
        query: `[rows, heads, new, size]`.
        key: `[rows, key heads, tokens, size]`; a divisor of the heads, of which as many share a key in their order.
        value: the same, perhaps of another size. Hidden values have to be finite.
        hidden: where a token is not attended to; None for nowhere.
        scale: of the products.

    Returns:
        `[rows, heads, new, value size]` in the dtype of the values.
    """
    rows, heads, new, size = query.shape
    shared, tokens = key.shape[1], key.shape[2]
    grouped = query.reshape(rows * shared, heads // shared * new, size)
    keys = key.reshape(rows * shared, tokens, size).transpose(1, 2)
    added = query.new_zeros(()) if hidden is None else hidden.added(rows, shared, heads, new, query.dtype)
    scores = torch.baddbmm(added, grouped, keys, alpha=scale)  # rounded once, after all of it
    shares = scores.softmax(-1, query.dtype)
    found = torch.bmm(shares.to(value.dtype), value.reshape(rows * shared, tokens, value.shape[3]))
    return found.view(rows, heads, new, value.shape[3])
