"""Encodes a text or a pair of texts for sequence classification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy
import torch

from burnish.models.tokenizer import end_texts


@dataclass(frozen=True, slots=True)
class ReadTokens:
    """The token ids of a text or a pair of texts."""

    input_ids: list[int]
    token_types: list[int] | None
    """0 for tokens of the first text, 1 for those of the second; None if the tokenizer has no token types."""
    truncated: int
    """Number of truncated tokens."""


class Readable(Protocol):
    """The parts of an example that `read_inputs` needs."""

    @property
    def input_ids(self) -> list[int]:
        """Token ids."""
        ...

    @property
    def token_types(self) -> list[int] | None:
        """See `ReadTokens`."""
        ...


class PairFormat:
    """Encodes texts.

    A tokenizer with a template that closes texts (`[CLS] a [SEP] b [SEP]`) uses it. For others, those of decoders, each
    text is ended by EOS, which separates pairs and makes the last token, which attends to everything, the same in every
    row.

    Args:
        tokenizer: of the model.
        adapts: whether the tokenizer may be changed to end texts by itself (`end_texts`).
    """

    def __init__(self, tokenizer: Any, adapts: bool = True) -> None:
        self._tokenizer = tokenizer
        ids = tokenizer("a")["input_ids"]
        self._closes = bool(ids) and ids[-1] in tokenizer.all_special_ids
        if not self._closes and adapts:
            self._closes = end_texts(tokenizer)
        plain = tokenizer("a", add_special_tokens=False)["input_ids"]
        self._lead = [] if self._closes else ids[: len(ids) - len(plain)]
        end = tokenizer.eos_token_id
        self._end = tokenizer("\n", add_special_tokens=False)["input_ids"] if end is None else [end]

    def encode(self, texts: Sequence[str], context: int) -> ReadTokens:
        """Token ids of one or two texts, at most `context`; of a pair the longer is truncated first."""
        return self._by_template(texts, context) if self._closes else self._by_hand(texts, context)

    def _by_template(self, texts: Sequence[str], context: int) -> ReadTokens:
        # verbose=False: long texts are truncated and counted here, so a warning about their length would be wrong.
        encoded = self._tokenizer(*texts, return_attention_mask=False, verbose=False)
        length = len(encoded["input_ids"])
        if length > context:
            encoded = self._tokenizer(
                *texts, return_attention_mask=False, verbose=False, truncation="longest_first", max_length=context
            )
        ids = list(encoded["input_ids"])
        types = encoded.get("token_type_ids")
        return ReadTokens(ids, None if types is None else list(types), length - len(ids))

    def _by_hand(self, texts: Sequence[str], context: int) -> ReadTokens:
        parts = self._tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
        parts = list(parts["input_ids"])
        room = context - len(self._lead) - len(parts) * len(self._end)
        kept = longest_first([len(part) for part in parts], room)
        ids = list(self._lead)
        for part, most in zip(parts, kept, strict=True):
            ids += part[:most] + self._end
        return ReadTokens(ids, None, sum(map(len, parts)) - sum(kept))


def longest_first(lengths: Sequence[int], room: int) -> list[int]:
    """How many tokens of one or two texts to keep within `room`, truncating the longer one first."""
    if sum(lengths) <= room:
        return list(lengths)
    if len(lengths) == 1:
        return [room]
    shorter = min(*lengths, room // 2)
    return [shorter, room - shorter] if lengths[0] <= lengths[1] else [room - shorter, shorter]


def read_inputs(examples: Sequence[Readable], pad_id: int = 0) -> dict[str, torch.Tensor]:
    """`input_ids`, `attention_mask` and, if there are any, `token_type_ids`; each `[rows, width]` int64.

    Args:
        examples: one per row.
        pad_id: padding token at the end of rows; the mask hides it. A single row has none.
    """
    width = max(len(example.input_ids) for example in examples)
    input_ids = numpy.full((len(examples), width), pad_id, dtype=numpy.int64)
    mask, types = numpy.zeros_like(input_ids), numpy.zeros_like(input_ids)
    for row, example in enumerate(examples):
        length = len(example.input_ids)
        input_ids[row, :length] = example.input_ids
        mask[row, :length] = 1
        if example.token_types is not None:
            types[row, :length] = example.token_types
    inputs = {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(mask)}
    if examples[0].token_types is not None:
        inputs["token_type_ids"] = torch.from_numpy(types)
    return inputs
