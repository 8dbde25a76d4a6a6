"""A text, or two, as token ids that a model reads whole to say one thing about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy
import torch


@dataclass(frozen=True, slots=True)
class ReadTokens:
    """What a model reads of a text or a pair of texts."""

    input_ids: list[int]
    token_types: list[int] | None
    """0 or 1 for each token, first or second text; None where the tokenizer does not tell them apart so."""
    truncated: int
    """Tokens that were cut away."""


class Readable(Protocol):
    """What `read_inputs` must know of an example."""

    @property
    def input_ids(self) -> list[int]:
        """Token ids."""
        ...

    @property
    def token_types(self) -> list[int] | None:
        """See `ReadTokens`."""
        ...


class PairFormat:
    """Turns texts into token ids.

    A tokenizer whose own template closes a text (`[CLS] a [SEP] b [SEP]`) is left to it. The others, those of
    decoders, know no pairs: each text is ended by EOS, so that a pair is told apart and the last token, the one that
    has seen everything, is the same in every row.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        ids = tokenizer("a")["input_ids"]
        self._closes = bool(ids) and ids[-1] in tokenizer.all_special_ids
        plain = tokenizer("a", add_special_tokens=False)["input_ids"]
        self._lead = [] if self._closes else ids[: len(ids) - len(plain)]
        end = tokenizer.eos_token_id
        self._end = tokenizer("\n", add_special_tokens=False)["input_ids"] if end is None else [end]

    def encode(self, texts: Sequence[str], context: int) -> ReadTokens:
        """Token ids of one text or two, at most `context`; of a pair the longer is cut first."""
        return self._by_template(texts, context) if self._closes else self._by_hand(texts, context)

    def _by_template(self, texts: Sequence[str], context: int) -> ReadTokens:
        # verbose=False: a text longer than the model reads is cut here, and counted, so that no warning is due.
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
    """How much of one or two texts is kept so that `room` is enough, cutting the longer one as long as it is longer."""
    if sum(lengths) <= room:
        return list(lengths)
    if len(lengths) == 1:
        return [room]
    shorter = min(*lengths, room // 2)
    return [shorter, room - shorter] if lengths[0] <= lengths[1] else [room - shorter, shorter]


def read_inputs(examples: Sequence[Readable], pad_id: int) -> dict[str, torch.Tensor]:
    """`input_ids`, `attention_mask` and, where there are any, `token_type_ids`; each `[rows, width]` int64.

    Args:
        examples: one for each row.
        pad_id: fills rows up at their end; the mask keeps it from being seen.
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
