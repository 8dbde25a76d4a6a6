"""Text to text, for models with an encoder and a decoder: what is read, and what is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch

from burnish.data.batches import Batch
from burnish.data.row import IGNORED


@dataclass(frozen=True, slots=True)
class SequencePair:
    """Token ids of a source text and of the text to be written."""

    source_ids: list[int]
    target_ids: list[int]
    place: str

    @property
    def num_tokens(self) -> int:
        """Tokens read and written."""
        return len(self.source_ids) + len(self.target_ids)

    @property
    def num_trained(self) -> int:
        """Tokens written; all of them are trained on."""
        return len(self.target_ids)


def collate_pairs(examples: Sequence[SequencePair], rows: Sequence[Sequence[int]], pad_id: int) -> Batch:
    """Pairs side by side: sources padded at the end and masked there, `targets` `[rows, width]` padded with `IGNORED`.

    Args:
        examples: all examples.
        rows: for each row of the batch, the one example that it holds.
        pad_id: token that fills sources up.
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
