"""The keys and values of the rows of a batch, which rows join and leave while it goes on.

Rows are aligned at their last token: a shorter row begins further to the right, and what is before it is masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

_STEP = 64
"""Columns by which the room of a layer grows, so that it is copied once in so many tokens."""


class GrowingLayer(DynamicLayer):
    """A layer that writes new tokens into room it has, rather than copying all it holds for each of them."""

    _stored: tuple[torch.Tensor, torch.Tensor] | None = None
    """`[rows, heads, room, size]` each, of which `keys` and `values` are views."""

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Begins without columns."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self._stored = None
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends `[rows, heads, new, size]` each; returns all columns."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        held: Any = self.keys
        begin = held.shape[-2]
        end = begin + key_states.shape[-2]
        if self._stored is None or end > self._stored[0].shape[-2]:
            values: Any = self.values
            self._stored = _widened(held, key_states, end), _widened(values, value_states, end)
        for stored, new in zip(self._stored, (key_states, value_states), strict=True):
            stored[:, :, begin:end] = new
        self.keys, self.values = (stored[:, :, :end] for stored in self._stored)
        return self.keys, self.values

    @classmethod
    def of(cls, parts: Sequence[tuple[torch.Tensor, torch.Tensor]], width: int) -> GrowingLayer:
        """A layer of rows `[rows, heads, columns, size]` each, aligned at the end of `width` columns, with room for
        more."""
        layer = cls()
        layer.lazy_initialization(*parts[0])
        layer._stored = _aligned([keys for keys, _ in parts], width), _aligned([values for _, values in parts], width)
        layer.keys, layer.values = (stored[:, :, :width] for stored in layer._stored)
        return layer


def _room(columns: int) -> int:
    return -(-columns // _STEP) * _STEP


def _widened(held: torch.Tensor, new: torch.Tensor, columns: int) -> torch.Tensor:
    """What is held, with room for at least so many columns."""
    stored = new.new_empty(*new.shape[:2], _room(columns), new.shape[3])
    stored[:, :, : held.shape[-2]] = held
    return stored


def _aligned(parts: Sequence[torch.Tensor], width: int) -> torch.Tensor:
    """All rows in one tensor, each copied once."""
    first = parts[0]
    stored = first.new_empty(sum(map(len, parts)), first.shape[1], _room(width + 1), first.shape[3])
    row = 0
    for part in parts:
        begin = width - part.shape[-2]
        stored[row : row + len(part), :, :begin] = 0
        stored[row : row + len(part), :, begin:width] = part
        row += len(part)
    return stored


def empty() -> Cache:
    """Without rows and columns, for any number of layers."""
    return Cache(layer_class_to_replicate=GrowingLayer)


def columns(cache: Cache) -> int:
    """Tokens of its longest row."""
    return cache.get_seq_length()


def joined(caches: Sequence[Cache]) -> Cache:
    """The rows of all caches in one, aligned at the end."""
    width = max(map(columns, caches))
    made = empty()
    for layers in zip(*(cache.layers for cache in caches), strict=True):
        made.layers.append(GrowingLayer.of([_held(layer) for layer in layers], width))
    return made


def kept(cache: Cache, rows: Sequence[int], width: int) -> Cache:
    """Some rows of a cache, and the last columns of these.

    Args:
        cache: of all rows.
        rows: their numbers, in order.
        width: tokens of the longest of them.
    """
    made = empty()
    for layer in cache.layers:
        keys, values = _held(layer)
        begin = keys.shape[-2] - width
        parts = [(keys[row : row + 1, :, begin:], values[row : row + 1, :, begin:]) for row in rows]
        made.layers.append(GrowingLayer.of(parts, width))
    return made


def beginning(cache: Cache, width: int) -> Cache:
    """The first columns of a cache of one row."""
    made = empty()
    for layer in cache.layers:
        keys, values = _held(layer)
        made.layers.append(GrowingLayer.of([(keys[:, :, :width], values[:, :, :width])], width))
    return made


def num_bytes(cache: Cache) -> int:
    """What its keys and values take, with the room for more."""
    return sum(part.untyped_storage().nbytes() for layer in cache.layers for part in _held(layer))


def _held(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return layer.keys, layer.values
