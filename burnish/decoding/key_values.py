"""The keys and values of the rows of a batch, which rows join and leave while it goes on.

Rows are aligned at their last column. Columns that are not a row's own are masked: those before a row that is shorter,
and those of tokens that were guessed wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache

from burnish.models.growing_cache import GrowingCache, GrowingLayer

_ALIGNED = 64
"""Bytes at whose multiples tensors begin, as torch's own do."""


class KeyValues:
    """Rows of keys and values.

    Args:
        mask: `[rows, columns]` int64, 1 for the columns of the row, on any device.
        cache: with as many rows and columns; None for an empty one, which the network is to fill.
    """

    def __init__(self, mask: torch.Tensor, cache: Cache | None = None) -> None:
        self.mask, self.cache = mask, cache or GrowingCache()

    @property
    def columns(self) -> int:
        """Of all rows."""
        return self.mask.shape[1]

    @property
    def num_bytes(self) -> int:
        """What they take, with the room for more."""
        stored = [part.untyped_storage() for layer in self.cache.layers for part in _held(layer)]
        return sum({one.data_ptr(): one.nbytes() for one in stored}.values())

    @classmethod
    def joined(cls, parts: Sequence[KeyValues]) -> KeyValues:
        """The rows of all parts."""
        width = max(part.columns for part in parts)
        made = cls(torch.cat([_widened(part.mask, width) for part in parts]))
        for layers in zip(*(part.cache.layers for part in parts), strict=True):
            made.cache.layers.append(GrowingLayer.of([_held(layer) for layer in layers], width))
        return made

    def grow(self, new: torch.Tensor) -> None:
        """Notes further columns.

        Args:
            new: `[rows, new columns]`, as the mask has it.
        """
        self.mask = torch.cat([self.mask, new], 1)

    def forget(self, numbers: Sequence[int]) -> None:
        """Forgets the last columns of each row, some or none."""
        for row, number in enumerate(numbers):
            if number:
                self.mask[row, -number:] = 0
        if least := min(numbers):
            self.mask = self.mask[:, :-least]
            for layer in self.cache.layers:
                growing: Any = layer
                growing.take_back(least)

    @property
    def num_empty(self) -> int:
        """Columns that no row would need if each had its own side by side."""
        return self.columns - int(self.mask.sum(1).max())

    def length(self, row: int) -> int:
        """Columns that are a row's own."""
        return int(self.mask[row].sum())

    def replace(self, row: int, other: KeyValues, its: int) -> None:
        """Puts a row of another in the place of one. It may have as many columns of its own as there are here."""
        length = other.length(its)
        own, begin = _own(other.mask[its].bool(), length), self.columns - length
        self.mask[row] = 0
        self.mask[row, begin:] = 1
        for mine, others in zip(self.cache.layers, other.cache.layers, strict=True):
            for held, new in zip(_held(mine), _held(others), strict=True):
                held[row : row + 1, :, begin:] = _part(new, its, own)

    def kept(self, rows: Sequence[int]) -> KeyValues:
        """Some rows by their numbers, in order, each with its own columns side by side."""
        masks = [self.mask[row].bool() for row in rows]
        lengths = [int(mask.sum()) for mask in masks]
        width = max(lengths)
        made = KeyValues(torch.zeros(len(rows), width, dtype=torch.long))
        for row, length in enumerate(lengths):
            made.mask[row, width - length :] = 1
        own = [_own(mask, length) for mask, length in zip(masks, lengths, strict=True)]
        for layer in self.cache.layers:
            keys, values = _held(layer)
            parts = [(_part(keys, row, one), _part(values, row, one)) for row, one in zip(rows, own, strict=True)]
            made.cache.layers.append(GrowingLayer.of(parts, width))
        return made

    def packed(self, row: int) -> KeyValues:
        """One row to be held for long: in a single piece of memory, without room for more.

        Small pieces of many rows that stay, among others that go, would leave holes that nothing fits into.
        """
        length = self.length(row)
        own = _own(self.mask[row].bool(), length)
        parts = [_part(held, row, own) for layer in self.cache.layers for held in _held(layer)]
        sizes = [-(-part.nbytes // _ALIGNED) * _ALIGNED for part in parts]
        memory = torch.empty(sum(sizes), dtype=torch.uint8, device=parts[0].device).split(sizes)
        copies = [
            piece[: part.nbytes].view(part.dtype).view(part.shape).copy_(part)
            for piece, part in zip(memory, parts, strict=True)
        ]
        made = KeyValues(torch.ones(1, length, dtype=torch.long))
        for keys, values in zip(copies[::2], copies[1::2], strict=True):
            made.cache.layers.append(GrowingLayer.holding(keys, values))
        return made

    def beginning(self, width: int) -> KeyValues:
        """The first columns of a single row that has no others."""
        made = KeyValues(self.mask[:, :width].clone())
        for layer in self.cache.layers:
            keys, values = _held(layer)
            made.cache.layers.append(GrowingLayer.of([(keys[:, :, :width], values[:, :, :width])], width))
        return made


def _held(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return layer.keys, layer.values


def _widened(mask: torch.Tensor, width: int) -> torch.Tensor:
    return torch.nn.functional.pad(mask, (width - mask.shape[1], 0))


def _own(mask: torch.Tensor, length: int) -> slice | torch.Tensor:
    """The columns of a row: a slice if they are side by side."""
    columns = mask.nonzero().flatten()
    begin = int(columns[0]) if length else 0
    return slice(begin, begin + length) if not length or int(columns[-1]) - begin + 1 == length else columns


def _part(held: torch.Tensor, row: int, own: slice | torch.Tensor) -> torch.Tensor:
    """The columns of one row `[1, heads, columns, size]`."""
    if isinstance(own, slice):
        return held[row : row + 1, :, own]
    return held[row : row + 1].index_select(2, own.to(held.device))
