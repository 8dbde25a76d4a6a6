"""The keys and values of the rows of a batch, which rows join and leave while it goes on.

Rows are aligned at their last token: a shorter row begins further to the right, and what is before it is masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache

from burnish.models.growing_cache import GrowingCache, GrowingLayer


def empty() -> GrowingCache:
    """Without rows and columns, for any number of layers."""
    return GrowingCache()


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


def take_back(cache: Cache, columns: int) -> None:
    """Forgets the last columns of all rows."""
    for layer in cache.layers:
        growing: Any = layer
        growing.take_back(columns)


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
