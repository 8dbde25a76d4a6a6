"""Tokenizers: a pad token for those without one, and embedding rows for tokens the model lacks."""

from __future__ import annotations

from typing import Any

import torch

_USUAL_NAMES = ("<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>", "<|reserved_special_token_0|>", "<unused0>")


def ensure_pad_token(tokenizer: Any, embedding_rows: int) -> list[str]:
    """Sets a pad token that is not EOS, without changing the shape of the model.

    In order: a token made for padding, the unknown token, a new token in a spare row of the embedding. Where none of
    these is to be had, EOS fills up rows; Burnish takes labels from positions, not from ids, so EOS is still learned.

    Args:
        tokenizer: changed in place where needed.
        embedding_rows: rows of the model's input embedding.

    Returns:
        Sentences that say what was done; empty when nothing was.
    """
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id != tokenizer.eos_token_id:
        return []
    vocabulary = tokenizer.get_vocab()
    known = [name for name in _USUAL_NAMES if vocabulary.get(name, embedding_rows) < embedding_rows]
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id != tokenizer.eos_token_id:
        known.append(tokenizer.unk_token)
    if not known and max(vocabulary.values()) + 1 < embedding_rows:
        known.append("<|pad|>")
    if known:
        tokenizer.add_special_tokens({"pad_token": known[0]})  # setting `pad_token` alone would add nothing
        return [f"The tokenizer has no pad token of its own; `{known[0]}` is used, so that EOS stays a token to learn."]
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return ["The vocabulary has no room for a pad token; EOS fills up rows, and is still trained where it ends a text."]


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
