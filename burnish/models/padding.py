"""A pad token for tokenizers that come without one, or whose pad token is the one that ends a text."""

from __future__ import annotations

from typing import Any

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
