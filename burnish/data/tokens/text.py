"""Encodes running text and text-to-text pairs as examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy
import torch

from burnish.data.batching.batches import Batch
from burnish.data.rows.pattern import Pattern
from burnish.data.rows.records import TextRecord
from burnish.data.rows.row import IGNORED, EncodedRow, Example, RowError, as_text, pick
from burnish.data.tokens.tokens import TokenRequests, Tokens, run_requests


def text_record(pattern: Pattern, values: Mapping[str, Any], place: str) -> TextRecord:
    """The record of a row of text. Raises RowError if it is empty."""
    name, value = pick(values, pattern.required[0])
    text = as_text(value, name)
    if text is None or not text.strip():
        raise RowError("the text is empty")
    return TextRecord(text, values.get("ends") is not False, place)


class Text(Protocol):
    """A text record."""

    @property
    def text(self) -> str: ...

    @property
    def ends(self) -> bool: ...

    @property
    def place(self) -> str: ...


class TextFormat:
    """Encodes text records as examples of at most `context` tokens.

    If the tokenizer adds BOS, every chunk starts with it, once, and it is not trained on. EOS is appended where the
    record's text ends, and trained on.

    Attributes:
        tokens: encodes the texts that `requests` yields.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokens = Tokens(tokenizer)

    def prompt_ids(self, text: str) -> list[int]:
        """The ids of a prompt as in training: after BOS if the tokenizer adds it."""
        return self.tokens.encode_led([text])[0]

    def encode(self, record: Text, context: int) -> EncodedRow:
        """Encodes a single text like `requests`, with the same errors."""
        return run_requests(self.tokens, self.requests(record, context))

    def requests(self, record: Text, context: int) -> TokenRequests[EncodedRow]:
        """Consecutive chunks that together have every token of the record's text.

        Raises:
            RowError: the text is empty or a single token.
        """
        if not record.text.strip():
            raise RowError("the text is empty")
        lead = self.tokens.lead
        (ids,) = yield [record.text]
        if ids[: len(lead)] == lead:
            ids = ids[len(lead) :]
        eos = self.tokens.eos_id
        if record.ends and eos is not None and ids[-1:] != [eos]:
            ids = [*ids, eos]
        if len(lead) + len(ids) < 2:
            raise RowError("the text is a single token: there is nothing to predict")
        chunks = _chunks(ids, context - len(lead), least=1 if lead else 2)
        return EncodedRow([Example(lead + chunk, [IGNORED] * len(lead) + chunk, record.place) for chunk in chunks])


def _chunks(ids: list[int], size: int, least: int) -> list[list[int]]:
    """Splits `ids` into chunks of `size`, the last one of at least `least` (the chunk before it is then shorter)."""
    if size < 2 * least - 1:
        raise RowError("the context is too short for a token and the one that it is predicted from")
    cuts = list(range(0, len(ids), size))
    if len(cuts) > 1 and len(ids) - cuts[-1] < least:
        cuts[-1] = len(ids) - least
    return [ids[start:end] for start, end in zip(cuts, [*cuts[1:], len(ids)], strict=True)]


@dataclass(frozen=True, slots=True)
class SequencePair:
    """Token ids of a source text and a target text."""

    source_ids: list[int]
    target_ids: list[int]
    place: str

    @property
    def num_tokens(self) -> int:
        """Number of source and target tokens."""
        return len(self.source_ids) + len(self.target_ids)

    @property
    def num_trained(self) -> int:
        """Number of target tokens; all of them are trained on."""
        return len(self.target_ids)


def collate_pairs(examples: Sequence[SequencePair], rows: Sequence[Sequence[int]], pad_id: int) -> Batch:
    """Collates pairs: sources with padding and attention mask, `targets` `[rows, width]` padded with `IGNORED`.

    Args:
        examples: all examples.
        rows: the index of the single example in each row of the batch.
        pad_id: padding token of the sources.
    """
    chosen = [index for (index,) in rows]
    sources = [examples[index].source_ids for index in chosen]
    targets = [examples[index].target_ids for index in chosen]
    ids = _padded(sources, pad_id)
    attention = _padded([[1] * len(source) for source in sources], 0)
    lengths = torch.tensor([len(target) for target in targets])
    return Batch(
        {"input_ids": ids, "attention_mask": attention},
        _padded(targets, IGNORED),
        tuple(chosen),
        torch.repeat_interleave(torch.tensor(chosen), lengths),
        sum(examples[index].num_tokens for index in chosen),
    )


def _padded(lists: Sequence[list[Any]], fill: int) -> torch.Tensor:
    filled = numpy.full((len(lists), max(map(len, lists))), fill, dtype=numpy.int64)
    for row, values in enumerate(lists):
        filled[row, : len(values)] = values
    return torch.from_numpy(filled)
