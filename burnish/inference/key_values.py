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

    def put(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Replaces everything that it holds."""
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values


def _widened(held: torch.Tensor, new: torch.Tensor, columns: int) -> torch.Tensor:
    """What is held, with room for at least so many columns."""
    room = -(-columns // _STEP) * _STEP
    stored = new.new_empty(*new.shape[:2], room, new.shape[3])
    stored[:, :, : held.shape[-2]] = held
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
    for number in range(max(len(cache.layers) for cache in caches)):
        layers = [_layers(cache)[number] for cache in caches]
        keys = torch.cat([_aligned(layer.keys, width) for layer in layers])
        values = torch.cat([_aligned(layer.values, width) for layer in layers])
        _put(made, keys, values)
    return made


def kept(cache: Cache, rows: Sequence[int], width: int) -> Cache:
    """Some rows of a cache, and the last columns of these.

    Args:
        cache: of all rows.
        rows: their numbers, in order.
        width: tokens of the longest of them.
    """
    chosen, made = torch.tensor(rows), empty()
    for layer in _layers(cache):
        begin = layer.keys.shape[-2] - width
        _put(made, layer.keys[chosen, :, begin:], layer.values[chosen, :, begin:])
    return made


def beginning(cache: Cache, width: int) -> Cache:
    """The first columns of a cache of one row."""
    made = empty()
    for layer in _layers(cache):
        _put(made, layer.keys[:, :, :width].clone(), layer.values[:, :, :width].clone())
    return made


def num_bytes(cache: Cache) -> int:
    """What its keys and values take."""
    return sum(part.nbytes for layer in _layers(cache) for part in (layer.keys, layer.values))


def _layers(cache: Cache) -> list[Any]:
    """Those with keys and values."""
    return list(cache.layers)


def _aligned(held: torch.Tensor, width: int) -> torch.Tensor:
    missing = width - held.shape[-2]
    return torch.nn.functional.pad(held, (0, 0, missing, 0)) if missing else held


def _put(cache: Cache, keys: torch.Tensor, values: torch.Tensor) -> None:
    layer = GrowingLayer()
    layer.put(keys, values)
    cache.layers.append(layer)
