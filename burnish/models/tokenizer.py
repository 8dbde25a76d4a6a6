"""Tokenizers: adds a pad token if there is none, and embedding rows for tokens that the model lacks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, processors

from burnish.errors import ModelError
from burnish.models.config import model_kind
from burnish.models.heads import SEQUENCE_CLASSIFIER

_USUAL_NAMES = ("<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>", "<|reserved_special_token_0|>", "<unused0>")
_USUAL_ENDS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|end|>", "<|im_end|>")


def pad_of_classifier(config: Any, auto_class: str) -> int | None:
    """The pad token that a decoder which labels texts has in its config; None for other models, or if it has none.

    In transformers the last token before it counts. Other programs load the config of the base beside an adapter, so
    texts must be padded with this token, and may not end in it.
    """
    if auto_class != SEQUENCE_CLASSIFIER or model_kind(config) != "causal":
        return None
    return config.get_text_config().pad_token_id


def choose_pad_token(tokenizer: Any, config: Any, auto_class: str, embedding_rows: int = 0) -> list[str]:
    """Sets the pad token of a model: that of its config where it must be used, else one that `ensure_pad_token` finds.

    Args:
        tokenizer: changed in place if needed.
        config: of the base model.
        auto_class: that loads the model.
        embedding_rows: of its input embedding; 0 for those of the config.

    Returns:
        Notes for the user about what was changed; empty if nothing was.
    """
    rows = embedding_rows or config.get_text_config().vocab_size
    return ensure_pad_token(tokenizer, rows, pad_of_classifier(config, auto_class))


def ensure_pad_token(tokenizer: Any, embedding_rows: int, fixed: int | None = None) -> list[str]:
    """Sets a pad token that is not EOS, without changing the shape of the model.

    In order of preference: a token meant for padding, the unknown token, a new token in a spare row of the embedding.
    If there is none of these, EOS is used for padding; Burnish takes labels from positions, not from ids, so EOS is
    still trained on.

    Args:
        tokenizer: changed in place if needed.
        embedding_rows: rows of the model's input embedding.
        fixed: the token to use in any case, EOS or not; see `pad_of_classifier`.

    Returns:
        Notes for the user about what was changed; empty if nothing was.
    """
    if fixed is not None and 0 <= fixed < embedding_rows and (token := tokenizer.convert_ids_to_tokens(fixed)):
        tokenizer.pad_token = token
        return []
    pad = tokenizer.pad_token_id
    if pad is not None and pad >= embedding_rows and not vocabulary_size(tokenizer, embedding_rows) > pad:
        tokenizer.pad_token = pad = None  # a token of the tokenizer's class that the model does not have
    if pad is not None and pad != tokenizer.eos_token_id:
        return []
    vocabulary = tokenizer.get_vocab()
    known = [name for name in _USUAL_NAMES if vocabulary.get(name, embedding_rows) < embedding_rows]
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id != tokenizer.eos_token_id:
        known.append(tokenizer.unk_token)
    if not known and max(vocabulary.values()) + 1 < embedding_rows:
        known.append("<|pad|>")
    if known:
        tokenizer.add_special_tokens({"pad_token": known[0]})  # assigning `pad_token` would not add the token
        return [
            f"The tokenizer has no pad token of its own; `{known[0]}` is used, so that EOS can still be trained on."
        ]
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return [
        "The vocabulary has no room for a pad token; EOS is used for padding and still trained on at the end of a text."
    ]


def check_vocabulary(tokenizer: Any, rows: int, name: str) -> None:
    """Checks that every token of the tokenizer's own vocabulary has a row in the embedding.

    Added tokens are not counted: those that texts contain get a row, see `vocabulary_size`.

    Args:
        tokenizer: of the model.
        rows: rows of the model's embedding.
        name: of the model.

    Raises:
        ModelError: one has none.
    """
    added = tokenizer.added_tokens_decoder
    token, last = max(
        ((token, id_) for token, id_ in tokenizer.get_vocab().items() if id_ not in added),
        key=lambda pair: pair[1],
        default=("", -1),
    )
    if last >= rows:
        raise ModelError(
            f"the tokenizer of `{name}` does not belong to the model: it has {last + 1:,} tokens, and the embedding "
            f"has {rows:,} rows",
            f"There is no row for the token `{token}` (number {last}).",
            "Copy the tokenizer files of the original model into the folder",
        )


def missing_rows(tokenizer: Any, rows: int) -> dict[int, str]:
    """Special tokens without a row in the embedding, not even after it has grown for added tokens, by their number."""
    most = max(rows, vocabulary_size(tokenizer, rows))
    return {id_: token.content for id_, token in tokenizer.added_tokens_decoder.items() if id_ >= most}


def vocabulary_size(tokenizer: Any, rows: int) -> int:
    """The size that an embedding of `rows` has to grow to for every added token to have a row; 0 if it is large enough.

    Special tokens that come with a tokenizer's class but are not in the model are ignored: no text contains them.
    """
    added = [id_ for id_, token in tokenizer.added_tokens_decoder.items() if not token.special]
    wanted = max(added, default=-1) + 1
    return wanted if wanted > rows else 0


def end_texts(tokenizer: Any, always: bool = False) -> bool:
    """Makes a decoder's tokenizer end texts by itself, if it can: `a EOS`, and `a EOS b EOS` for a pair.

    The tokenizer is saved with the result, so that other programs encode a text as it was trained. What it puts before
    a text stays. If EOS also pads, another token that usually ends texts takes its place, because transformers'
    classifiers take the last token that is not padding; without any, texts are not ended, only separated by EOS.

    Args:
        tokenizer: changed in place.
        always: whether to end texts by EOS even then.

    Returns:
        Whether it does so now; not if it has no EOS, or is implemented in Python.
    """
    backend, end = getattr(tokenizer, "backend_tokenizer", None), tokenizer.eos_token
    if backend is None or end is None:
        return False
    is_ended = always or tokenizer.pad_token_id != tokenizer.eos_token_id
    if not is_ended:
        vocabulary, most = tokenizer.get_vocab(), max(tokenizer.vocab_size, tokenizer.eos_token_id + 1)
        # what has a larger number may have no row in the embedding
        others = [name for name in _USUAL_ENDS if tokenizer.pad_token_id != vocabulary.get(name, most) < most]
        is_ended, end = bool(others), next(iter(others), end)
    plain, full = tokenizer("a", add_special_tokens=False)["input_ids"], tokenizer("a")["input_ids"]
    lead = tokenizer.convert_ids_to_tokens(full[: len(full) - len(plain)])
    last = [f"{end}:0"] if is_ended else []
    text = [*(f"{token}:0" for token in lead), "$A:0"]
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in (*lead, end)}
    ending = processors.TemplateProcessing(
        single=[*text, *last], pair=[*text, f"{end}:0", "$B:0", *last], special_tokens=list(ids.items())
    )
    kept = [processors.ByteLevel(trim_offsets=True)] if _trims_offsets(backend) else []
    backend.post_processor = processors.Sequence([*kept, ending])
    return True


def _trims_offsets(backend: Any) -> bool:
    """Whether the offsets of tokens are trimmed by a byte-level post-processor."""
    found = json.loads(backend.to_str())["post_processor"] or {}
    steps = found.get("processors", [found])
    return any(step.get("type") == "ByteLevel" and step.get("trim_offsets") for step in steps)


@torch.no_grad()
def fit_vocabulary(network: Any, tokenizer: Any) -> list[str]:
    """Adds a row for every token that was added to the tokenizer, in the embedding and in an untied output layer.

    New rows start as the mean of the old ones, which is deterministic and gives the new tokens an average probability.

    Returns:
        Notes for the user about what was changed; empty if nothing was.
    """
    old = network.get_input_embeddings().num_embeddings
    wanted = vocabulary_size(tokenizer, old)
    if not wanted:
        return []
    means = [table[:old].float().mean(dim=0) for table in _tables(network)]
    network.resize_token_embeddings(wanted, mean_resizing=False)
    for table, mean in zip(_tables(network), means, strict=True):
        table[old:] = mean.to(table.dtype)
    return [f"The vocabulary grew by {wanted - old} tokens, whose embeddings start as the mean of the others."]


def _tables(network: Any) -> list[torch.Tensor]:
    """All tensors with a row per token; tied ones once."""
    embedding, head = network.get_input_embeddings().weight, network.get_output_embeddings()
    own = [] if head is None or head.weight is embedding else [head.weight]
    bias = getattr(head, "bias", None)
    return [embedding, *own] + ([] if bias is None else [bias])


def save_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Saves a tokenizer with the truncation and padding of its base model's file.

    transformers sets both in a fast tokenizer with every call, and would save those of the last one: which call that
    was depends on the task, and on whether the run was resumed.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        tokenizer.save_pretrained(str(folder))
        return
    found = backend.truncation, backend.padding
    _set_lengths(backend, *_lengths_in_file(Path(tokenizer.name_or_path) / "tokenizer.json"))
    tokenizer.save_pretrained(str(folder))
    _set_lengths(backend, *found)


def _set_lengths(backend: Any, truncation: dict[str, Any] | None, padding: dict[str, Any] | None) -> None:
    """Sets what a fast tokenizer cuts and pads; None for nothing."""
    backend.no_truncation()
    backend.no_padding()
    if truncation is not None:
        backend.enable_truncation(**truncation)
    if padding is not None:
        backend.enable_padding(**padding)


def _lengths_in_file(file: Path) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Truncation and padding of a saved tokenizer; None where it has none."""
    if not file.is_file():
        return None, None
    saved = Tokenizer.from_file(str(file))
    return saved.truncation, saved.padding
