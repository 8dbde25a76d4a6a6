"""Rows of the embedding for tokens that the tokenizer has and the model has not."""

from __future__ import annotations

from typing import Any

import torch


def vocabulary_size(tokenizer: Any, rows: int) -> int:
    """Rows that an embedding of `rows` grows to, so that every added token has one; 0 where it need not grow.

    Special tokens that a tokenizer's class brings along, and that the model never had, count for nothing: no text is
    written with them.
    """
    added = [id_ for id_, token in tokenizer.added_tokens_decoder.items() if not token.special]
    wanted = max(added, default=-1) + 1
    return wanted if wanted > rows else 0


@torch.no_grad()
def fit_vocabulary(network: Any, tokenizer: Any) -> list[str]:
    """Gives the model a row for every token that was added to the tokenizer, in the embedding and in a head of its own.

    New rows begin as the mean of the old ones, always the same: a token that is likelier than none, and less likely
    than any that was learned.

    Returns:
        Sentences that say what was done; empty when nothing was.
    """
    old = network.get_input_embeddings().num_embeddings
    wanted = vocabulary_size(tokenizer, old)
    if not wanted:
        return []
    means = [table[:old].float().mean(dim=0) for table in _tables(network)]
    network.resize_token_embeddings(wanted, mean_resizing=False)
    for table, mean in zip(_tables(network), means, strict=True):
        table[old:] = mean.to(table.dtype)
    return [f"The vocabulary grew by {wanted - old} tokens, whose embeddings begin as the mean of the others."]


def _tables(network: Any) -> list[torch.Tensor]:
    """Whatever has a row for every token; tied ones once."""
    embedding, head = network.get_input_embeddings().weight, network.get_output_embeddings()
    own = [] if head is None or head.weight is embedding else [head.weight]
    bias = getattr(head, "bias", None)
    return [embedding, *own] + ([] if bias is None else [bias])
